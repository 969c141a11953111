"""What `igr list` prints: what can be run, what it costs and what is missing."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from igrlib._checks import one_of
from igrlib.experiments.cli.commands import (
    ALL,
    Task,
    tasks_in_order,
    units_named,
)
from igrlib.experiments.cli.console import counted
from igrlib.experiments.cli.faults import Mistake, mistakes
from igrlib.experiments.records import RecordError

__all__ = ["list_units"]


def list_units(args: argparse.Namespace) -> int:
    """Print experiments, profiles and units, what they cost and what is missing."""
    from igrlib.experiments.profiles import ABOUT, EXPERIMENTS

    if args.profile is None and (args.set or args.experiment == ALL):
        what = "--set needs a --profile to change" if args.set else "all needs a --profile"
        raise Mistake(what)
    if args.experiment == ALL:
        with mistakes():
            tasks = tasks_in_order(args)
        print("all experiments, in the order in which their units run")
        _print_units(tasks, [f"{folder.experiment}/{unit.name}" for folder, unit in tasks])
        return 0
    with mistakes():
        experiments = list(EXPERIMENTS)
        if args.experiment is not None:
            experiments = [one_of("the experiment", args.experiment, experiments)]
        named = {
            experiment: [
                units_named(experiment, profile, args.set, args.out)
                for profile in ([args.profile] if args.profile else EXPERIMENTS[experiment])
            ]
            for experiment in experiments
        }
    for number, (experiment, profiles) in enumerate(named.items()):
        print(f"{chr(10) if number else ''}{experiment}: {ABOUT[experiment]}")
        for folder, units in profiles:
            _print_units([Task(folder, unit) for unit in units], [unit.name for unit in units])
    return 0


def _print_units(tasks: Sequence[Task], names: Sequence[str]) -> None:
    finished: dict[Task, dict[str, Any]] = {}
    states: dict[Task, str] = {}
    for task in tasks:
        folder, unit = task
        state = "missing"
        try:
            if meta := folder.finished(unit):
                finished[task], state = meta, "done"
        except RecordError as error:
            state = f"cannot be used: {error}"
        if task not in finished and folder.checkpoint(unit).exists():
            state = f"stopped, {state}"
        states[task] = state
    paces = _paces(finished) if len(finished) < len(tasks) else {}
    to_do = {
        task: paces.get(task.unit.alike, math.nan) * task.unit.model_steps
        for task in tasks
        if task not in finished
    }
    width = max(map(len, names))
    print(f"\n{tasks[0].folder.profile}: {_missing(len(tasks), list(to_do.values()))}")
    print(f"  {'N':>4}  {'unit':<{width}}  models   model-steps      time  state")
    for number, (task, name) in enumerate(zip(tasks, names, strict=True), 1):
        if task in finished:
            about = _span(finished[task]["seconds"])
        else:
            about = "?" if math.isnan(to_do[task]) else f"~{_span(to_do[task])}"
        print(
            f"  {number:>4}  {name:<{width}}  {task.unit.models:>6}  "
            f"{task.unit.model_steps:>12,}  {about:>8}  {states[task]}"
        )


def _paces(finished: Mapping[Task, Mapping[str, Any]]) -> dict[tuple[Any, ...], float]:
    """Seconds of a model-step on this kind of device, for each group of alike units."""
    if not finished:
        return {}
    try:
        here = jax.devices()[0].device_kind
    except (RuntimeError, AssertionError):  # There is none, or another process has it alone.
        return {}
    seconds, steps = Counter[Any](), Counter[Any]()
    for (_, unit), meta in finished.items():
        if meta["provenance"]["device"].get("kind") == here:
            seconds[unit.alike] += meta["seconds"]
            steps[unit.alike] += unit.model_steps
    return {alike: seconds[alike] / steps[alike] for alike in steps}


def _missing(total: int, seconds: Sequence[float]) -> str:
    """How many units are missing, and about how long they take; NaN where that is not known."""
    if not seconds:
        return "the unit is done" if total == 1 else f"all {total} units are done"
    text = f"{len(seconds)} of {counted(total, 'unit')} missing"
    known = [s for s in seconds if not math.isnan(s)]
    if known:
        text += f", ~{_span(sum(known))}"
        if len(known) < len(seconds):
            text += f" and {len(seconds) - len(known)} of unknown length"
    return text


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}" if hours else f"{minutes}m{rest:02d}" if minutes else f"{rest}s"
