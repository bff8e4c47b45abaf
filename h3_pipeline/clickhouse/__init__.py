"""One ClickHouse client for the embedded engine and for a server."""
