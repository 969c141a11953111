"""What `igr list` prints: what there is to run, what it costs and what is missing."""

import argparse
from collections.abc import Sequence
from typing import Any

from igrlib.cli.asked import Mistake, mistakes, units_named

__all__ = ["list_units"]


def list_units(args: argparse.Namespace) -> int:
    """Print experiments, profiles and units, what they cost and what is missing."""
    from igrlib._checks import one_of
    from igrlib.experiments import costs
    from igrlib.experiments.profiles import ABOUT, EXPERIMENTS

    if args.set and args.profile is None:
        raise Mistake("--set needs a --profile to change")
    with mistakes():
        if args.experiment is not None:
            one_of("the experiment", args.experiment, EXPERIMENTS)
        experiments = [args.experiment] if args.experiment else list(EXPERIMENTS)
        named = {
            experiment: [
                units_named(experiment, profile, args.set, args.out)
                for profile in ([args.profile] if args.profile else EXPERIMENTS[experiment])
            ]
            for experiment in experiments
        }
    for number, experiment in enumerate(experiments):
        finished = costs.past(sorted(args.out.glob(f"{experiment}-*")))
        print(f"{chr(10) if number else ''}{experiment}: {ABOUT[experiment]}")
        for folder, units in named[experiment]:
            _print_profile(folder, units, finished)
    return 0


def _print_profile(folder: Any, units: Sequence[Any], finished: Sequence[Any]) -> None:
    from igrlib.experiments import costs
    from igrlib.records import RecordError

    width = max(len(unit.name) for unit in units)
    rows: list[str] = []
    to_do: list[float | None] = []
    for number, unit in enumerate(units, 1):
        try:
            meta = folder.finished(unit)
            state = "done" if meta else "missing"
        except RecordError as error:
            meta, state = None, f"cannot be used: {error}"
        if meta is None and folder.checkpoint(unit).exists():
            state = f"stopped, {state}"
        took = meta["seconds"] if meta else costs.seconds(unit, finished)
        if meta is None:
            to_do.append(took)
        about = f"{'' if meta else '~'}{_span(took)}" if took is not None else "?"
        rows.append(
            f"  {number:>4}  {unit.name:<{width}}  {costs.models(unit):>6}  "
            f"{costs.model_steps(unit):>12,}  {about:>8}  {state}"
        )
    print(f"\n{folder.profile}: {_to_do(len(units), to_do)}")
    print(f"  {'N':>4}  {'unit':<{width}}  models   model-steps      time  state")
    print("\n".join(rows))


def _to_do(total: int, seconds: Sequence[float | None]) -> str:
    """How many units are missing, and about how long they take."""
    if not seconds:
        return f"all {total} units are done"
    known = [s for s in seconds if s is not None]
    if not known:
        return f"{len(seconds)} of {total} units are missing"
    more = (
        f" and {len(seconds) - len(known)} of unknown length" if len(known) < len(seconds) else ""
    )
    return f"{len(seconds)} of {total} units are missing, ~{_span(sum(known))}{more}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}" if hours else f"{minutes}m{rest:02d}" if minutes else f"{rest}s"
