"""What leaves the warehouse: query results in every format, and maps."""
