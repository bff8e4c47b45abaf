"""Tests of what Dagster runs: definitions, assets, checks, sensors."""
