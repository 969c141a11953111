"""Interpreters beside this one, and what they leave."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import igrlib

# igrlib.experiments.records alone, without what igrlib/__init__.py imports.
BARE = f"""
import os, sys, types
package = types.ModuleType("igrlib")
package.__path__ = [{os.path.dirname(igrlib.__file__)!r}]
sys.modules["igrlib"] = package
import numpy as np
from igrlib.experiments import records
"""


@contextmanager
def bare(code, cwd):
    """A running interpreter that knows only igrlib.experiments.records."""
    process = subprocess.Popen(
        [sys.executable, "-c", BARE + code],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())
