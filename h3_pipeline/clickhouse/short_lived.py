"""Tables that are filled once, read a few times and dropped."""

NEVER_MERGED = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"
"""Settings of such a table: merging its parts would take a quarter of the time that filling it takes, for nothing."""
