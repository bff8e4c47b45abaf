"""What the pipeline costs, measured: `python -m benchmarks --help`, or the targets `bench…` of the Makefile."""
