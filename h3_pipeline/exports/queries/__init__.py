"""The shipped questions, one SQL file each."""
