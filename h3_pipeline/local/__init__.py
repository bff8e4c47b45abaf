"""The embedded stack: the object store's process and sample data."""
