"""The bucket: its prefixes, its objects, and how the engines reach it."""
