"""Benchmarks: this server beside others, in one run. `python -m benchmarks --help`."""
