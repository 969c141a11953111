"""The command `igr`: list and run experiments, judge them, prepare data.

Exit status 0: done; 2: something the user can mend, said in one line; 75: stopped in good order, run
again to go on.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["main"]

USER_ERROR, STOPPED = 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default that of the process, and return its exit status."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("IGR_TRACEBACK") == "1":
            raise
        print(f"igr: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igr", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run what is missing of a profile")
    run.add_argument("experiment")
    run.add_argument("--profile", default="digits")
    run.add_argument("--unit", action="append", metavar="NAME", help="only this unit (repeatable)")
    run.add_argument("--time-limit", type=float, metavar="SECONDS")
    run.add_argument("--out", type=Path, default=Path("book/results"), metavar="DIR")
    run.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    run.set_defaults(run=_run)
    return parser


def _run(args: argparse.Namespace) -> int:
    began = time.monotonic()
    _use_all_cores()
    from igrlib.experiments import runner
    from igrlib.experiments.profiles import PROFILES
    from igrlib.experiments.sweep import Stopped
    from tqdm import tqdm

    layout = _layout()
    arms = PROFILES[args.profile]
    units = runner.units(arms)
    wanted = [u for u in units if not args.unit or u.name in args.unit]
    told: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: told.append(number))

    def asked_to_stop() -> bool:
        late = args.time_limit is not None and time.monotonic() - began > args.time_limit
        return bool(told) or late

    for unit in runner.missing(args.out, args.profile, wanted):
        with tqdm(total=1, desc=unit.name, unit="step", unit_scale=True, mininterval=1.0) as bar:

            def progress(unit: Any, done: int, total: int, what: str, bar: Any = bar) -> None:
                bar.total = total
                bar.set_postfix_str(what, refresh=False)
                bar.update(done - bar.n)

            try:
                runner.run_unit(
                    unit,
                    layout,
                    args.out,
                    args.profile,
                    expected=[u.name for u in units],
                    asked_to_stop=asked_to_stop,
                    progress=progress,
                )
            except Stopped:
                print(f"igr: {unit.name} is stopped; run again to go on", file=sys.stderr)
                return STOPPED
    return 0


def _use_all_cores() -> None:
    """One device for each core, each on one thread: an ensemble fills them better than one model."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    jax.config.update("jax_num_cpu_devices", min(cores or 1, 2))


def _layout() -> Any:
    import jax
    import numpy as np
    from jax.sharding import Mesh

    from igrlib.training.ensemble import Layout

    return Layout(Mesh(np.array(jax.devices()), ("models",)))
