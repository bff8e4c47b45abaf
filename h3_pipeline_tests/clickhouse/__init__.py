"""Tests of the ClickHouse client."""
