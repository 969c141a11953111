"""What the commands of `igr` do; the parser reads the arguments and turns errors into lines.

Everything is imported where it is needed: most of it takes seconds.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from igrlib.experiments.cli.asked import Mistake, mistakes, units_named
from igrlib.experiments.cli.console import Progress, StopSignals, say

__all__ = ["prepare", "run", "verdicts"]

STOPPED = 75


def run(args: argparse.Namespace) -> int:
    """Run what is missing of a profile; 0 when it is done, 75 when it was stopped."""
    began = time.monotonic()
    with mistakes():
        _check_numbers(args)
    with StopSignals() as signals:
        _one_device_a_core()
        from igrlib.experiments import runner
        from igrlib.experiments.folder import Claimed
        from igrlib.experiments.sweep import Stopped

        with mistakes():
            folder, units = units_named(args.experiment, args.profile, args.set, args.out)
            expected, wanted = [unit.name for unit in units], _wanted(units, args.unit)
            folder.merge(expected)
            missing = folder.missing(wanted)
            _check_units(missing, args.group)

        began_work = False
        limit = math.inf if args.time_limit is None else args.time_limit

        def asked_to_stop() -> bool:
            # With less time than it takes to start, a run must get on all the same.
            late = time.monotonic() - began >= limit and (began_work or limit == 0)
            return signals.received or late

        def run_one(unit: Any) -> Path:
            progress = Progress(f"{unit.name}, {unit.models} models")

            def report(*how_far: Any) -> None:
                nonlocal began_work
                began_work = True
                progress(*how_far)

            try:
                if asked_to_stop():
                    raise Stopped
                with _run_errors(unit):
                    return runner.run_unit(
                        unit,
                        folder,
                        group=args.group,
                        expected=expected,
                        every=args.checkpoint_every,
                        asked_to_stop=asked_to_stop,
                        progress=report,
                    )
            finally:
                progress.close()

        waiting, elsewhere = missing, []
        while waiting:
            elsewhere = []
            for unit in waiting:
                try:
                    shard = run_one(unit)
                except Claimed:
                    elsewhere.append(unit)
                except Stopped:
                    left = sum(not folder.shard(unit).exists() for unit in missing)
                    say(f"igr: stopped, {left} of {len(missing)} units left; run again to go on")
                    return STOPPED
                else:
                    say(f"{unit.name}: done, {shard}", sys.stdout)
            all_taken = len(elsewhere) == len(waiting)
            # Meanwhile others may have finished them, or given them up.
            elsewhere = waiting = folder.missing(elsewhere)
            if all_taken:
                break
    if elsewhere:
        names = ", ".join(unit.name for unit in elsewhere)
        raise Mistake(f"another process runs {names}: wait for it, or stop it")
    done = sum(folder.shard(unit).exists() for unit in units)
    say(f"{folder.profile}: {done} of {len(units)} units are done", sys.stdout)
    return 0


def verdicts(args: argparse.Namespace) -> int:
    """Print what a record says of Predictions 2.1 to 2.4, and of explicit regularization."""
    from igrlib._checks import one_of
    from igrlib.experiments import records
    from igrlib.experiments.verdicts import describe, judge, judge_boost

    with mistakes():
        folder, units = units_named(args.experiment, args.profile, args.set, args.out)
        arms = {unit.arm.name: unit.arm for unit in units}
        arm = arms[one_of("--arm", args.arm or next(iter(arms)), arms)]
        record = records.open_record(folder.path)
    judged = {"by learning rate": judge(record, arm.name)}
    if arm.matched or any(arm.mus):
        title = f"by μ, at learning rate {min(arm.learning_rates):g}"
        judged[title] = judge(record, arm.name, explicit=True)
    if any(arm.mus):
        plain = _plain(folder, arm.network.kind)
        judged["against the best learning rate"] = (judge_boost(record, arm.name, plain=plain),)
    for title, several in judged.items():
        if len(judged) > 1:
            print(f"{title}:")
        for verdict in several:
            words = describe(verdict)
            print(words.sentence)
            for note in words.notes:
                print(f"    {note}")
    return 0


def _plain(folder: Any, network: str) -> tuple[Any, str] | None:
    """The record and arm of plain models of a network under the same profile, if there is one."""
    from igrlib.experiments import records
    from igrlib.experiments.folder import Folder

    other = Folder(folder.out, "resnet-sweep", folder.profile)
    try:
        record = records.open_record(other.path)
    except records.RecordError:
        return None
    swept = [unit.meta["unit_config"].get("model") for unit in record.units.values()]
    return (record, "sgd") if network in swept else None


def prepare(args: argparse.Namespace) -> int:
    """Fetch and cache a data set, or check the cached one."""
    from igrlib.experiments import data

    with mistakes():
        print(data.prepare(args.name))
    return 0


def _wanted(units: list[Any], asked: Sequence[str] | None) -> list[Any]:
    """The units asked for by number, from 1, or name."""
    from igrlib._checks import one_of

    if not asked:
        return units
    names = [unit.name for unit in units]
    found: set[str] = set()
    for text in asked:
        # Not all digits at once: Python reads no number of thousands of them.
        number = int(text[:9]) if text.isdecimal() else None
        if number is not None and not (1 <= number <= len(names) and len(text) < 10):
            shown = text if len(text) < 10 else f"a number of {len(text)} digits"
            raise ValueError(f"--unit must be between 1 and {len(names)} or a name, got {shown}")
        found.add(one_of("--unit", text, names) if number is None else names[number - 1])
    return [unit for unit in units if unit.name in found]


def _check_units(units: Sequence[Any], group: int | None) -> None:
    """Everything that can be known to be wrong, before the first unit takes its hours."""
    from igrlib.experiments import data
    from igrlib.experiments.building import check_splits
    from igrlib.experiments.layouts import check_fits, layout_of

    datasets = {name: data.load(name) for name in sorted({unit.arm.dataset for unit in units})}
    for unit in units:
        check_splits(unit.arm, datasets[unit.arm.dataset])
        check_fits(unit, datasets[unit.arm.dataset], layout_of(unit, group=group))


@contextmanager
def _run_errors(unit: Any) -> Iterator[None]:
    """During a run only files and memory can be the user's to mend; any other error is a bug."""
    from jax.errors import JaxRuntimeError

    from igrlib.experiments.layouts import LESS
    from igrlib.experiments.records import RecordError

    try:
        yield
    except RecordError as error:
        raise Mistake(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Mistake(
            f"{where}{error.strerror or error}; what was saved before is kept: make room, or see to"
            " the permissions, and run again to go on, or name another folder with --out"
        ) from error
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise Mistake(
            f"unit {unit.name} ran out of memory; what was saved before is kept, with its "
            f"checkpoint: {LESS} ({str(error).splitlines()[0]})"
        ) from error


def _check_numbers(args: argparse.Namespace) -> None:
    from igrlib._checks import check_integer

    if args.group is not None:
        check_integer("--group", args.group, low=1)
    for name in ("time_limit", "checkpoint_every"):
        seconds = getattr(args, name)
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} must be 0 or more, and finite, got {seconds:g}")


def _one_device_a_core() -> None:
    """Each core a device on one thread: an ensemble fills them better than one model does."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    import jax

    affinity: Callable[[int], Any] | None = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError as error:  # Somebody has used JAX in this process before.
        say(f"igr: the devices stay as they are: {error}")
