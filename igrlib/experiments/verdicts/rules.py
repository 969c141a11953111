"""The rules of a verdict: its thresholds, what was observed, and what that is evidence for.

Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 12, *What held*.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Literal, NamedTuple

from igrlib.experiments.arm import Arm
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.predictions import FITTED, Question
from igrlib.experiments.verdicts.trends import Trend

__all__ = [
    "Observation",
    "Reading",
    "Reason",
    "observation_of",
    "p_of",
    "reading_of",
    "recorded_thresholds",
]

Observation = Literal["reproduced", "reproduced in part", "not reproduced", "cannot tell"]
"""What was seen of a prediction."""

Reading = Literal[
    "evidence for the regularizer",
    "association, cause open",
    "effect of the penalty, mechanism open",
    "evidence against the prediction",
    "evidence against an effect that matters",
    "none",
]
"""What an observation is evidence for."""


class Reason(NamedTuple):
    """The reason for an observation; `describe` puts it into words.

    kind: a key of `describe.REASONS`; names: of units, widths, controls and so on.
    """

    kind: str
    names: tuple[str, ...] = ()


def recorded_thresholds(record: Record, arm: str) -> Thresholds:
    """The thresholds that the units of an arm were recorded with.

    Older units do not hold thresholds; theirs come from their profile. Raises `ValueError`
    where units differ, or where their profile has no thresholds for the data set.
    """
    if arm not in arms(record):
        raise ValueError(f"arm must be one of {arms(record)}, which are recorded, got {arm!r}")
    found = set()
    for unit in record.units.values():
        config = unit.meta["unit_config"]
        if config.get("name") != arm:
            continue
        stored = config.get("thresholds")
        if stored is None:
            stored = _of_profile(record.experiment, config.get("dataset", ""), record.profile)
        elif not isinstance(stored, dict) or stored.keys() - {
            field.name for field in fields(Thresholds)
        }:
            raise ValueError(f"unit {unit.name} has thresholds that igrlib does not know: {stored}")
        else:
            stored = Thresholds(**stored)
        found.add(stored)
    if len(found) != 1:
        raise ValueError(f"the units of {arm!r} were recorded with different thresholds")
    return found.pop()


def observation_of(
    question: Question,
    total: Trend,
    widths: dict[int, Trend],
    controls: dict[str, Trend],
    limits: Thresholds,
    progress: Trend | None = None,
) -> tuple[Observation, tuple[Reason, ...]]:
    """The observation that `judge` documents, and why it is that.

    `progress`: of log E where the models stand, for an accuracy.
    """
    if total.blocks < limits.blocks:
        return "cannot tell", (Reason("few blocks"),)
    against = p_of(question, total, against=True) < limits.significance
    agrees = _agrees(question, total, limits.significance)
    # Each width is a test of its own: the more there are, the less each may be believed.
    each = limits.significance / len(widths)
    found = tuple(
        str(n)
        for n, part in widths.items()
        if part.blocks >= limits.blocks and _agrees(question, part, each)
    )
    seen = against or agrees or found
    if seen and progress and _is_progress(question, progress, controls, limits, against=against):
        return "cannot tell", (Reason("progress"),)
    if against:
        return "not reproduced", (Reason("other way"),)
    if agrees:
        faults = (*_faults(question, widths, controls, limits),)
        return ("reproduced in part", faults) if faults else ("reproduced", ())
    if found:
        return "reproduced in part", (Reason("some widths", found),)
    if _too_small(question, total):
        return "not reproduced", (Reason("too small"),)
    significant = p_of(question, total) < limits.significance
    return "cannot tell", (Reason("perhaps too small" if significant else "not significant"),)


def reading_of(
    observation: Observation, reasons: Sequence[Reason], rivals: Sequence[Reason], *, explicit: bool
) -> Reading:
    """What an observation is evidence for: for the regularizer only where no rival is left."""
    if observation == "cannot tell":
        return "none"
    if observation == "not reproduced":
        if any(reason.kind == "too small" for reason in reasons):
            return "evidence against an effect that matters"
        return "evidence against the prediction"
    if not rivals:
        return "evidence for the regularizer"
    return "effect of the penalty, mechanism open" if explicit else "association, cause open"


def p_of(question: Question, part: Trend, *, against: bool = False) -> float:
    """The one-sided p-value in the predicted direction, or `against` it."""
    return part.p.falling if question.falls != against else part.p.rising


def _of_profile(experiment: str, dataset: str, profile: str) -> Thresholds:
    """The thresholds in the arms of a profile that train on a data set.

    A changed profile has the thresholds of the original profile.
    """
    known = EXPERIMENTS.get(experiment, {}).get(profile.partition("+")[0], ())
    arms = [arm for arm in known if isinstance(arm, Arm)]
    found = {arm.thresholds for arm in arms if arm.dataset == dataset}
    if len(found) != 1:
        raise ValueError(
            f"profile {profile!r} of {experiment!r} must have one set of thresholds for data set "
            f"{dataset!r}, got {len(found)}: pass thresholds"
        )
    return found.pop()


def _is_progress(
    question: Question,
    progress: Trend,
    controls: dict[str, Trend],
    limits: Thresholds,
    *,
    against: bool,
) -> bool:
    """Whether the accuracies follow the training loss, and nothing shows more than that.

    Models that have trained further are more accurate. Models that fitted every example have
    nowhere further to go: a trend that is found among them too has another cause.
    """
    better = question.falls == against
    came_further = progress.p.falling if better else progress.p.rising
    if came_further >= limits.significance:
        return False
    fitted = controls[FITTED]
    if fitted.blocks < limits.blocks:
        return True
    if against:
        return p_of(question, fitted, against=True) >= limits.significance
    return not _agrees(question, fitted, limits.significance)


def _faults(
    question: Question, widths: dict[int, Trend], controls: dict[str, Trend], limits: Thresholds
) -> Iterator[Reason]:
    for n, part in widths.items():
        if not part.blocks:
            yield Reason("width not measured", (str(n),))
        elif _predicted(question, part.effect) <= 0:
            yield Reason("width of the other sign", (str(n),))
        elif _too_small(question, part):
            yield Reason("width too small", (str(n),))
    silent = tuple(name for name, part in controls.items() if part.blocks < limits.blocks)
    for name, part in controls.items():
        if name not in silent and not _agrees(question, part, limits.significance):
            yield Reason("control failed", (name,))
    if silent:
        yield Reason("control silent", silent)


def _predicted(question: Question, effect: float) -> float:
    """An effect, positive in the predicted direction."""
    return -effect if question.falls else effect


def _agrees(question: Question, part: Trend, significance: float) -> bool:
    large = _predicted(question, part.effect) >= question.least
    return large and p_of(question, part) < significance


def _too_small(question: Question, part: Trend) -> bool:
    """Whether the interval leaves out every effect that matters in the predicted direction."""
    ends = part.interval
    return ends is not None and max(_predicted(question, end) for end in ends) < question.least
