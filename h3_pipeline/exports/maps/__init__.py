"""A query's result as a map: one HTML file that needs no network."""
