"""The software-defined assets: Dagster's words for what the packages below do."""
