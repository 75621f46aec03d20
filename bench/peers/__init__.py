"""What a user would write instead of a node: measured in turn with it."""
