"""What an upload looks like. Pure: bytes and names in, a description out."""
