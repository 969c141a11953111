"""What `igr list` prints: what there is to run, what it costs and what is missing."""

import argparse
from collections.abc import Sequence

from igrlib.cli.asked import Mistake, mistakes, units_named

__all__ = ["list_units"]


def list_units(args: argparse.Namespace) -> int:
    """Print experiments, profiles and units, what they cost and what is missing."""
    from igrlib.experiments import costs, runner
    from igrlib.experiments.profiles import PROFILES
    from igrlib.records import RecordError

    if args.set and args.profile is None:
        raise Mistake("--set needs a --profile to change")
    wanted = [args.profile] if args.profile else list(PROFILES)
    with mistakes():
        named = [units_named(runner.EXPERIMENT, profile, args.set) for profile in wanted]
    finished = costs.past(sorted(args.out.glob(f"{runner.EXPERIMENT}-*")))
    print(f"{runner.EXPERIMENT}: Section 6, learning rates, widths and batch sizes of an MLP")
    for label, units in named:
        width = max(len(unit.name) for unit in units)
        rows: list[str] = []
        to_do: list[float | None] = []
        for number, unit in enumerate(units, 1):
            try:
                meta = runner.finished(args.out, label, unit)
                state = "done" if meta else "missing"
            except RecordError as error:
                meta, state = None, f"cannot be used: {error}"
            if meta is None and runner.checkpoint_path(args.out, label, unit).exists():
                state = f"stopped, {state}"
            took = meta["seconds"] if meta else costs.seconds(unit, finished)
            if meta is None:
                to_do.append(took)
            about = f"{'' if meta else '~'}{_span(took)}" if took is not None else "?"
            rows.append(
                f"  {number:>4}  {unit.name:<{width}}  {costs.models(unit):>6}  "
                f"{costs.model_steps(unit):>12,}  {about:>8}  {state}"
            )
        print(f"\n{label}: {_to_do(len(units), to_do)}")
        print(f"  {'N':>4}  {'unit':<{width}}  models   model-steps      time  state")
        print("\n".join(rows))
    return 0


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
