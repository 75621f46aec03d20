"""The operators' checklist: every line of it with how it is looked at, and the walk over a live deployment."""
