"""How fast igrlib is beside its rivals: `python -m tests.benchmarks`, or `make bench`."""
