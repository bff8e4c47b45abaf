"""The warehouse: its tables, how uploads are loaded into them, and how they are asked."""
