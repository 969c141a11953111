"""What the commands of `igr` do; `igrlib.cli` reads the arguments and turns errors into lines.

Everything is imported where it is needed: most of it takes seconds.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from igrlib.cli.asked import Mistake, mistakes, units_named
from igrlib.cli.console import Progress, StopSignals

__all__ = ["prepare", "run", "verdicts"]

STOPPED = 75


def run(args: argparse.Namespace) -> int:
    """Run what is missing of a profile; 0 when it is done, 75 when it was stopped."""
    began = time.monotonic()
    with mistakes():
        _check_seconds(args)
    with StopSignals() as signals:
        _one_device_a_core()
        from igrlib.experiments import runner
        from igrlib.experiments.claim import Claimed
        from igrlib.experiments.sweep import Stopped

        with mistakes():
            folder, units = units_named(args.experiment, args.profile, args.set, args.out)
            expected, wanted = [unit.name for unit in units], _wanted(units, args.unit)
            folder.merge(expected)
            missing = folder.missing(wanted)
            _check_units(missing)

        def asked_to_stop() -> bool:
            late = args.time_limit is not None and time.monotonic() - began >= args.time_limit
            return signals.told or late

        elsewhere: list[str] = []
        for number, unit in enumerate(missing):
            progress = Progress(f"{unit.name}, {_count(unit)} models")
            try:
                if asked_to_stop():
                    raise Stopped
                with _record_errors():
                    shard = runner.run_unit(
                        unit,
                        folder,
                        expected=expected,
                        every=args.checkpoint_every,
                        asked_to_stop=asked_to_stop,
                        progress=progress,
                    )
            except Claimed:
                elsewhere.append(unit.name)
                continue
            except Stopped:
                left = len(missing) - number
                told = f"igr: stopped, {left} of {len(missing)} units left; run again to go on"
                print(told, file=sys.stderr)
                return STOPPED
            finally:
                progress.close()
            print(f"{unit.name}: done, {shard}", flush=True)
    if elsewhere:
        raise Mistake(f"another process runs {', '.join(elsewhere)}: wait for it, or stop it")
    done = sum(folder.shard(unit).exists() for unit in units)
    print(f"{folder.profile}: {done} of {len(units)} units are done")
    return 0


def verdicts(args: argparse.Namespace) -> int:
    """Print what a record says of Predictions 2.1 to 2.4, and of explicit regularization."""
    from igrlib import records
    from igrlib._checks import one_of
    from igrlib.verdicts import judge, judge_boost

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
        plain = _plain(folder) if arm.model == "resnet18" else None
        judged["against the best learning rate"] = (judge_boost(record, arm.name, plain=plain),)
    for title, several in judged.items():
        if len(judged) > 1:
            print(f"{title}:")
        for verdict in several:
            print(verdict.sentence)
            for note in verdict.notes:
                print(f"    {note}")
    return 0


def _plain(folder: Any) -> tuple[Any, str] | None:
    """The record of plain ResNets under the same profile, and its arm, where there is one."""
    from igrlib import records
    from igrlib.experiments.folder import Folder

    other = Folder(folder.out, "resnet-sweep", folder.profile)
    try:
        return records.open_record(other.path), "sgd"
    except records.RecordError:
        return None


def prepare(args: argparse.Namespace) -> int:
    """Fetch and cache a data set, or check the cached one."""
    from igrlib import data

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
        if text.isdecimal() and not 1 <= int(text) <= len(names):
            raise ValueError(f"--unit must be between 1 and {len(names)} or a name, got {text}")
        found.add(names[int(text) - 1] if text.isdecimal() else one_of("--unit", text, names))
    return [unit for unit in units if unit.name in found]


def _check_units(units: Sequence[Any]) -> None:
    """Everything that can be known to be wrong, before the first unit takes its hours."""
    from igrlib import data
    from igrlib.experiments.layouts import layout_of
    from igrlib.experiments.preflight import check_unit

    datasets = {name: data.load(name) for name in sorted({unit.arm.dataset for unit in units})}
    for unit in units:
        check_unit(unit, datasets[unit.arm.dataset], layout_of(unit))


@contextmanager
def _record_errors() -> Iterator[None]:
    """During a run only files can be the user's to mend; any other ValueError is a bug."""
    from igrlib.records import RecordError

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


def _check_seconds(args: argparse.Namespace) -> None:
    for name in ("time_limit", "checkpoint_every"):
        seconds = getattr(args, name)
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"--{name.replace('_', '-')} must be 0 or more, got {seconds:g}")


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
        print(f"igr: the devices stay as they are: {error}", file=sys.stderr)


def _count(unit: Any) -> int:
    from igrlib.experiments.costs import models

    return models(unit)
