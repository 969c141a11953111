"""What the commands of `igr` do; the parser reads the arguments and turns errors into lines.

What trains or judges is imported where it is needed: that takes seconds.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from jax.errors import JaxRuntimeError

from igrlib._checks import one_of
from igrlib.experiments import data, records
from igrlib.experiments.cli.console import Progress, one_line, say, stop_signals
from igrlib.experiments.records.origin import cores

__all__ = ["Mistake", "mistakes", "prepare", "run", "units_named", "verdicts", "wanted"]

STOPPED = 75


class Mistake(Exception):
    """An error that the user can mend."""


@contextmanager
def mistakes() -> Iterator[None]:
    """Make a `Mistake` of a ValueError or TypeError: what comes from the user is no bug."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise Mistake(str(error)) from error


def units_named(
    experiment: str, profile: str, settings: Sequence[str], out: Path
) -> tuple[Any, list[Any]]:
    """The folder of an experiment's profile with `settings` made in it, and its units."""
    from igrlib.experiments import runner
    from igrlib.experiments.folder import Folder
    from igrlib.experiments.profiles import EXPERIMENTS
    from igrlib.experiments.settings import changed

    profiles = EXPERIMENTS[one_of("the experiment", experiment, EXPERIMENTS)]
    arms = profiles[one_of("--profile", profile, profiles)]
    label, arms = changed(profile, arms, settings)
    return Folder(out, experiment, label), runner.units(arms)


def run(args: argparse.Namespace) -> int:
    """Run what is missing of a profile; 0 when it is done, 75 when it was stopped."""
    began = time.monotonic()
    with stop_signals() as signals:
        progress = Progress()
        _one_device_a_core()
        from igrlib.experiments import runner
        from igrlib.experiments.folder import Claimed
        from igrlib.experiments.job import Stopped

        with mistakes():
            folder, units = units_named(args.experiment, args.profile, args.set, args.out)
            expected, asked = [unit.name for unit in units], wanted(units, args.unit)
            folder.merge(expected)
            missing = folder.missing(asked)
            _check_units(missing, args.group)

        def asked_to_stop() -> bool:
            # A limit shorter than the start must not keep a run from ever getting on.
            late = time.monotonic() - began >= args.time_limit
            return bool(signals) or (late and (progress.begun or args.time_limit == 0))

        def run_one(unit: Any) -> Path:
            if asked_to_stop():
                raise Stopped
            with _run_errors(unit), closing(progress):
                return runner.run_unit(
                    unit,
                    folder,
                    group=args.group,
                    expected=expected,
                    every=args.checkpoint_every,
                    asked_to_stop=asked_to_stop,
                    progress=progress,
                )

        waiting = missing
        while waiting:
            taken: list[Any] = []
            for unit in waiting:
                try:
                    shard = run_one(unit)
                except Claimed:
                    taken.append(unit)
                except Stopped:
                    left = sum(not folder.shard(unit).exists() for unit in missing)
                    say(f"igr: stopped, {left} of {len(missing)} units left; run again to go on")
                    return STOPPED
                else:
                    say(f"{unit.name}: done, {shard}", sys.stdout)
            all_taken = len(taken) == len(waiting)
            # Meanwhile others may have finished them, or given them up.
            waiting = folder.missing(taken)
            if all_taken:
                break
    if waiting:
        names = ", ".join(unit.name for unit in waiting)
        raise Mistake(f"another process runs {names}: wait for it, or stop it")
    done = sum(folder.shard(unit).exists() for unit in units)
    say(f"{folder.profile}: {done} of {len(units)} units are done", sys.stdout)
    return 0


def verdicts(args: argparse.Namespace) -> int:
    """Print what a record says of Predictions 2.1 to 2.4, of the penalty, and of the edge."""
    from igrlib.experiments.arm import Arm
    from igrlib.experiments.verdicts import describe, judge, judge_boost

    with mistakes():
        folder, units = units_named(args.experiment, args.profile, args.set, args.out)
        # Predictions are of models that are compared, not of single runs.
        arms = {unit.arm.name: unit.arm for unit in units if isinstance(unit.arm, Arm)}
        arm = arms[one_of("--arm", args.arm or next(iter(arms)), arms)]
        record = records.open_record(folder.path)
    judged = {"by learning rate": judge(record, arm.name)}
    if arm.matched or any(arm.mus):
        title = f"by μ, at learning rate {min(arm.learning_rates):g}"
        judged[title] = judge(record, arm.name, explicit=True)
    if any(arm.mus):
        plain = _plain(folder, arm.network.kind)
        judged["against the best learning rate"] = (judge_boost(record, arm.name, plain=plain),)
    said = {title: [*map(describe, several)] for title, several in judged.items()}
    if args.experiment == "edge-sweep":
        said |= _of_the_edge(record, arm, arms.values())
    for title, several in said.items():
        if len(said) > 1:
            print(f"{title}:")
        for words in several:
            print(words.sentence)
            for note in words.notes:
                print(f"    {note}")
    return 0


def _of_the_edge(record: Any, arm: Any, arms: Iterable[Any]) -> dict[str, list[Any]]:
    """What a record says of the questions that an arm of `edge-sweep` is for.

    A ladder stands beside those of other widths, where these are recorded.
    """
    from igrlib.experiments import verdicts as of
    from igrlib.experiments.arm import combinations
    from igrlib.experiments.table import arms as recorded
    from igrlib.regularizer import matching_mu

    pairs, large = [(h, mu) for h, mu, _ in combinations(arm)], max(arm.learning_rates)
    found: dict[str, list[Any]] = {}
    if any(h < large and mu == matching_mu(h, large) for h, mu in pairs):
        ladders = of.judge_ladder(record, arm.name)
        found["the ladder"] = [*map(of.describe_ladder, ladders), of.describe_together(ladders)]
        alike = [one.name for one in arms if replace(one, **_size(arm)) == arm]
        alike = [name for name in alike if name in recorded(record)]
        if len(alike) > 1:
            ladders = of.judge_ladder(record, alike)
            found[f"the ladder, {' with '.join(alike)}"] = [
                *map(of.describe_ladder, ladders),
                of.describe_together(ladders),
            ]
    if sum(mu > 0 for mu in arm.mus) > 1:
        found["the strength"] = [of.describe_strength(of.judge_strength(record, arm.name))]
    if any(mu for _, mu in pairs):
        flat = of.judge_flatness(record, arm.name)
        found["whether flatness explains accuracy"] = [*map(of.describe_flatness, flat)]
    return found


def _size(arm: Any) -> dict[str, Any]:
    """The fields of an arm in which one with other networks of its kind, or more seeds, differs."""
    names = ("name", "widths", "num_seeds", "seeds_per_unit")
    return {name: getattr(arm, name) for name in names}


def _plain(folder: Any, network: str) -> tuple[Any, str] | None:
    """The record and arm of plain models of a network under the same profile, if there is one."""
    try:
        record = records.open_record(replace(folder, experiment="resnet-sweep").path)
    except records.RecordError:
        return None
    swept = [unit.meta["unit_config"].get("model") for unit in record.units.values()]
    return (record, "sgd") if network in swept else None


def prepare(args: argparse.Namespace) -> int:
    """Fetch and cache a data set, or check the cached one."""
    with mistakes():
        print(data.prepare(args.name))
    return 0


def wanted(units: list[Any], asked: Sequence[str] | None) -> list[Any]:
    """The units asked for by number, from 1, or name."""
    names = [unit.name for unit in units]
    by_number = {str(number): name for number, name in enumerate(names, 1)}
    found: set[str] = set()
    for text in asked or names:
        number = text.lstrip("0")
        if text.isdecimal() and number not in by_number:
            known = f"between 1 and {len(names)} or a name"
            raise ValueError(f"--unit must be {known}, got {text:.20}")
        found.add(by_number.get(number) or one_of("--unit", text, names))
    return [unit for unit in units if unit.name in found]


def _check_units(units: Sequence[Any], group: int | None) -> None:
    """Raise what is wrong with any unit before the first one takes hours."""
    from igrlib.experiments import runner

    if units:
        _check_device()
    datasets = {name: data.load(name) for name in sorted({unit.arm.dataset for unit in units})}
    for unit in units:
        runner.check(unit, datasets[unit.arm.dataset], group=group)


def _check_device() -> None:
    """Raise a `Mistake` where JAX has nothing to run on, as on a node without its GPU."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # Some of JAX's assertions have no text.
        raise Mistake(
            f"JAX finds no device with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: ask for"
            " a machine that has one, install JAX for it, or set JAX_PLATFORMS=cpu"
            f" ({one_line(error)})"
        ) from error


@contextmanager
def _run_errors(unit: Any) -> Iterator[None]:
    """Make a `Mistake` of an error with files or memory; any other during a run is a bug."""
    from igrlib.experiments.layouts import LESS

    try:
        yield
    except records.RecordError as error:
        raise Mistake(str(error)) from error
    except OSError as error:
        raise Mistake(
            f"{one_line(error)}; what was saved before is kept: make room, or see to the"
            " permissions, and run again to go on, or name another folder with --out"
        ) from error
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise Mistake(
            f"unit {unit.name} ran out of memory; what was saved before is kept, with its "
            f"checkpoint: {LESS} ({str(error).splitlines()[0]})"
        ) from error


def _one_device_a_core() -> None:
    """Each core a device on one thread: an ensemble fills them better than one model does."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    try:
        jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError as error:  # JAX has been used in this process before.
        say(f"igr: the devices stay as they are: {error}")
