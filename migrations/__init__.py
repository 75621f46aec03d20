"""The database schema as plain SQL, applied in the order of the file names."""
