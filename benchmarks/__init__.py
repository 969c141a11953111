"""How fast igrlib is beside its rivals: `python -m benchmarks`, or `make bench`."""
