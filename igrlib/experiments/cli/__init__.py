"""The command `igr`: run the experiments, list what is done, judge it, prepare data."""

from igrlib.experiments.cli.parser import main

__all__ = ["main"]
