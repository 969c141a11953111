"""What the commands of `igr` do; the parser reads the arguments and turns errors into lines.

Code that trains or judges is imported where it is needed, because the import takes seconds.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax

from igrlib._checks import one_of
from igrlib.experiments import data, records
from igrlib.experiments.cli.console import Progress, counted, say, stop_signals
from igrlib.experiments.cli.faults import (
    DeviceLost,
    Mistake,
    UnitFailed,
    check_device,
    mistakes,
    run_errors,
)
from igrlib.experiments.cli.limit import Limit
from igrlib.experiments.records.origin import cores

__all__ = [
    "ALL",
    "Task",
    "prepare",
    "run",
    "tasks_in_order",
    "units_named",
    "verdicts",
    "wanted",
]

ALL = "all"
"""The name for every experiment."""

STOPPED = 75


class Task(NamedTuple):
    """A unit, and the folder that it is recorded in."""

    folder: Any
    unit: Any


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


def tasks_in_order(args: argparse.Namespace) -> list[Task]:
    """The units of all experiments that have a profile, in the order in which they run.

    Among units of equal first seeds those that were stopped come first.
    """
    from igrlib.experiments.cli.order import in_order
    from igrlib.experiments.folder import Folder
    from igrlib.experiments.profiles import EXPERIMENTS

    for option in ("unit", "set", "group"):
        if getattr(args, option, None) not in (None, []):
            names = ", ".join(EXPERIMENTS)
            raise ValueError(f"--{option} works with one experiment, got all: name one of {names}")
    profile = args.profile
    tasks = [Task(Folder(args.out, name, profile), unit) for name, unit in in_order(profile)]

    def place(task: Task) -> tuple[int, bool]:
        return task.unit.seeds[0], not task.folder.checkpoint(task.unit).exists()

    return sorted(tasks, key=place)


def run(args: argparse.Namespace) -> int:
    """Run the missing units of a profile; 0 when all are done, 75 when the run was stopped."""
    limit = Limit(args.time_limit)
    with stop_signals() as signals:
        progress = Progress()
        _one_device_a_core()
        from igrlib.experiments import runner
        from igrlib.experiments.folder import Claimed
        from igrlib.experiments.job import Stopped

        with mistakes():
            tasks, asked = _tasks(args)
            if args.one_of_each:
                asked = _one_of_each(asked)
            expected: dict[Any, list[str]] = {}
            for folder, unit in tasks:
                expected.setdefault(folder, []).append(unit.name)
            for folder, names in expected.items():
                folder.merge(names)
            missing = _missing(asked)
            refused = _check_units(missing, args.group)

        def heard(*done: Any) -> None:
            limit.piece()
            progress(*done)

        def run_one(folder: Any, unit: Any) -> Path:
            if signals or not limit.begins():
                raise Stopped
            waits = folder.checkpoint(unit).exists()
            if len(asked) > 1 or waits:
                name = unit.name if args.experiment != ALL else f"{folder.experiment}/{unit.name}"
                say(f"igr: {_done(asked)}; now {name}{', from its checkpoint' * waits}")
            with run_errors(folder, unit), closing(progress):
                return runner.run_unit(
                    unit,
                    folder,
                    group=args.group,
                    expected=expected[folder],
                    every=args.checkpoint_every,
                    asked_to_stop=lambda: bool(signals) or limit.passed,
                    progress=heard,
                )

        waiting = [task for task in missing if task not in refused]
        failed = list(refused.values())
        for why in failed if len(missing) > 1 else ():
            say(f"igr: {why}")
        while waiting:
            taken: list[Task] = []
            for task in waiting:
                try:
                    shard = run_one(*task)
                except Claimed:
                    taken.append(task)
                except Stopped:
                    say(f"igr: stopped, {_left(asked)}; run again to go on{limit.too_short}")
                    return STOPPED
                except DeviceLost as error:
                    if not (error.got_on or any(f.shard(u).exists() for f, u in missing)):
                        again = "this run made no progress: check the device before you run again"
                        raise Mistake(f"{error}; {again}") from error
                    say(f"igr: {error}; {_left(asked)}; run again to go on")
                    return STOPPED
                except UnitFailed as error:
                    if len(missing) == 1:
                        raise
                    # Its text alone: the error holds on to what fills the memory.
                    failed.append(str(error))
                    say(f"igr: {error}")
                else:
                    say(f"{task.unit.name}: done, {shard}", sys.stdout)
            all_taken = len(taken) == len(waiting)
            # Meanwhile others may have finished them, or given them up.
            waiting = _missing(taken)
            if all_taken:
                break
    if failed:
        several = f"{len(failed)} of {counted(len(missing), 'unit')} failed, the first: "
        raise Mistake(f"{several if len(missing) > 1 else ''}{failed[0]}")
    if waiting:
        names = ", ".join(task.unit.name for task in waiting)
        raise Mistake(f"another process runs {names}: wait for it, or stop it")
    say(f"{tasks[0].folder.profile}: {_done(tasks)}", sys.stdout)
    return 0


def _tasks(args: argparse.Namespace) -> tuple[list[Task], list[Task]]:
    """All units of the profile, or of all experiments, and the units that the user asked for."""
    if args.experiment == ALL:
        tasks = tasks_in_order(args)
        return tasks, tasks
    folder, units = units_named(args.experiment, args.profile, args.set, args.out)
    asked = wanted(units, args.unit)
    return [Task(folder, unit) for unit in units], [Task(folder, unit) for unit in asked]


def _one_of_each(tasks: Iterable[Task]) -> list[Task]:
    """The first task of each group whose units differ only in their seeds."""
    found: dict[Any, Task] = {}
    for task in tasks:
        found.setdefault((task.folder, task.unit.alike), task)
    return list(found.values())


def _missing(tasks: Iterable[Task]) -> list[Task]:
    return [task for task in tasks if task.folder.missing([task.unit])]


def _left(tasks: Sequence[Task]) -> str:
    left = sum(not folder.shard(unit).exists() for folder, unit in tasks)
    return f"{left} of {counted(len(tasks), 'unit')} left"


def _done(tasks: Sequence[Task]) -> str:
    done = sum(task.folder.shard(task.unit).exists() for task in tasks)
    return f"{done} of {counted(len(tasks), 'unit')} done"


def verdicts(args: argparse.Namespace) -> int:
    """Print what a record says of P1 to P4, of the penalty, and of the edge."""
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
    if len(arms) > 1:
        others = ", ".join(name for name in arms if name != arm.name)
        print(f"Arm {arm.name}; --arm judges another: {others}.")
    for title, several in said.items():
        if len(said) > 1:
            print(f"{title}:")
        for words in several:
            print(words.sentence)
            for note in words.notes:
                print(f"    {note}")
    return 0


def _of_the_edge(record: Any, arm: Any, arms: Iterable[Any]) -> dict[str, list[Any]]:
    """What a record says of the questions that an arm of `edge-sweep` answers.

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
            known = f"a name or a number from 1 to {len(names)}"
            raise ValueError(f"--unit must be {known}, got {text:.20}")
        found.add(by_number.get(number) or one_of("--unit", text, names))
    return [unit for unit in units if unit.name in found]


def _check_units(tasks: Sequence[Task], group: int | None) -> dict[Task, str]:
    """Messages on the units that do not fit into memory, before the first unit takes hours.

    Raises any other error.
    """
    from igrlib.experiments import runner

    if not tasks:
        return {}
    check_device()
    arms: dict[Any, set[str]] = {}
    for folder, unit in tasks:
        arms.setdefault(folder, set()).add(unit.arm.name)
    for folder, names in arms.items():
        folder.check_precision(names)
    datasets = {name: data.load(name) for name in sorted({t.unit.arm.dataset for t in tasks})}
    refused: dict[Task, str] = {}
    for task in tasks:
        try:
            runner.check(task.unit, datasets[task.unit.arm.dataset], group=group)
        except MemoryError as error:
            refused[task] = str(error)
    return refused


def _one_device_a_core() -> None:
    """Each core a device on one thread: an ensemble fills them better than one model does."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    try:
        jax.config.update("jax_num_cpu_devices", cores())
    except RuntimeError as error:  # JAX has been used in this process before.
        say(f"igr: the devices stay as they are: {error}")
