"""What lives too briefly to merge parts: a table that is read a few times and dropped, an engine that is asked once."""

from h3_pipeline.sql import assignments

NO_MERGES = {"max_bytes_to_merge_at_max_space_in_pool": 1, "max_bytes_to_merge_at_min_space_in_pool": 1}
"""Settings of a table, or of all of an engine's tables, whose parts are never merged."""

NEVER_MERGED = assignments(NO_MERGES)
"""The same as SQL. Merging the parts would take a quarter of the time that filling the table takes, for nothing."""
