"""Trip files in, hourly H3 tables out."""
