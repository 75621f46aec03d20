"""What the node does, in the protocol's terms: no HTTP above it, no SQL in it."""
