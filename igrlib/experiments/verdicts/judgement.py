"""What a recorded sweep says of Predictions 2.1 to 2.4, and what that is evidence for.

Each prediction has one primary statistic, the trend of one quantity with h within blocks of equal
width, batch size and seed, judged by an exact permutation test and by its size. The same is asked
of the regularizer alone, added explicitly at a small step. The thresholds were written before the
records that they judge.

Source: Section 2, Predictions 2.1-2.4, and Section 4; chapters 7, *MNIST*, 9, *Explicit
regularization*, and 10, *What held*.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from igrlib.experiments.blocks import Blocks, arms, blocks, missing_units
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.predictions import (
    CAUSES,
    CLAIMS,
    Question,
    at_level,
    edge_of,
    questions,
)
from igrlib.experiments.verdicts.rules import (
    Observation,
    Reason,
    observation_of,
    reading_of,
    recorded_thresholds,
)
from igrlib.experiments.verdicts.trends import Trend, trend
from igrlib.experiments.verdicts.verdict import Level, Standing, Verdict

__all__ = ["judge"]

_DIGITS = (1, 2, 5)
"""Other levels of 2.1 are these times powers of ten, up to a decade from the one judged at."""

_MODERATE = 1.0
"""h·λ_max beyond which the first-order theory has no claim. Source: chapter 6, quadratics."""


def judge(
    record: Record | None,
    arm: str = "sgd",
    *,
    explicit: bool = False,
    thresholds: Thresholds | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on Predictions 2.1 to 2.4 from one arm of a record.

    They are about the models that were trained without explicit regularization, by their learning
    rates h; with `explicit` about those of the smallest learning rate h_s, by their effective rates
    h_s + 4μ: what the regularizer does without the step that it stands for. `thresholds` are by
    default those that the record was made with.

    Reproduced: p under `significance` in the predicted direction and an effect that matters, of the
    same sign at every width, and the same without any one width and under every control. In part:
    not under some control, or a control leaves too few blocks to say, or only at some widths. Not
    reproduced: p under `significance` in the other direction, or an interval that leaves out every
    effect that matters. Cannot tell: anything else; an accuracy that goes with the training loss
    where no fitted models part the two; and always without a record or with units missing: to stop
    where the numbers please is no test.

    The reading is apart from that: an observation is evidence for the regularizer only where
    nothing else would explain it. With batches stability is not excluded, with ReLU the loss has
    kinks, beyond h·λ_max = 1 the first order is not the whole, and at chosen points the training
    losses may differ.

    Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 10, *What held*.
    """
    claims = CAUSES if explicit else CLAIMS
    if record is None:
        return _untold(claims, Reason("no record"))
    if arm not in arms(record):
        return _untold(claims, Reason("no arm", (arm,)))
    try:
        limits = thresholds or recorded_thresholds(record, arm)
        table = blocks(record, arm)
        table = table.explicit() if explicit else table.plain()
        asked = questions(table, level=limits.level, edge=limits.edge, least=limits.least())
        if explicit:
            asked = [replace(question, factor="h + 4μ") for question in asked]
        found = [_judged(table, q, claims[q.prediction], limits, explicit=explicit) for q in asked]
    except ValueError as error:
        return _untold(claims, Reason("not usable", (str(error),)))
    lacking = not_whole_reason(record, arm)
    if lacking is not None:
        missing = missing_units(record, arm)
        found = [
            replace(
                verdict,
                observation="cannot tell",
                reading="none",
                reasons=(lacking,),
                missing=missing,
                levels=tuple(replace(one, observation="cannot tell") for one in verdict.levels),
            )
            for verdict in found
        ]
    return tuple(found)


def not_whole_reason(record: Record, arm: str) -> Reason | None:
    """Why a record must not be judged by `arm` yet; None where nothing is missing."""
    if record.expected is None:
        return Reason("nobody has said")
    missing = missing_units(record, arm)
    return Reason("not yet run", missing) if missing else None


def _untold(claims: Mapping[str, str], reason: Reason) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(number, claim, "cannot tell", reasons=(reason,)) for number, claim in claims.items()
    )


def _judged(
    table: Blocks, question: Question, claim: str, limits: Thresholds, *, explicit: bool
) -> Verdict:
    total, widths, controls, progress = _trends(table, question, limits)
    observation, reasons = observation_of(
        question, total, widths, controls, limits, _accuracy(question, progress)
    )
    rivals = tuple(_rivals(table, question, progress, limits))
    measured = np.isfinite(question.primary)
    models, diverged = int(table.finished.sum()), int(table.marks["diverged"].sum())
    return Verdict(
        question.prediction,
        claim,
        observation,
        reading_of(observation, reasons, rivals, explicit=explicit),
        reasons,
        rivals,
        question.name,
        question.unit,
        question.factor,
        question.falls,
        question.least,
        limits,
        total,
        widths,
        controls,
        {
            name: _over(table, question, quantity, limits)
            for name, quantity in question.beside.items()
        },
        () if question.level is None else tuple(_levels(table, question.level, limits)),
        progress,
        _standing(table, question),
        models,
        diverged,
        models - diverged - int(measured.sum()),
        int((question.edge[measured] > limits.edge).sum()),
    )


def _over(
    table: Blocks,
    question: Question,
    quantity: np.ndarray,
    limits: Thresholds,
    rows: np.ndarray | slice = slice(None),
    *,
    relative: bool | None = None,
) -> Trend:
    return trend(
        table.effective_rate,
        quantity[rows],
        table.seed[rows],
        relative=question.relative if relative is None else relative,
        rates=limits.rates,
        seeds=limits.seeds,
        confidence=limits.confidence,
    )


def _trends(
    table: Blocks, question: Question, limits: Thresholds
) -> tuple[Trend, dict[int, Trend], dict[str, Trend], Trend | None]:
    """Over all blocks, by width, under each control, and that of the loss at chosen points."""

    def over(quantity: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Trend:
        return _over(table, question, quantity, limits, rows)

    widths = {int(n): over(question.primary, table.width == n) for n in np.unique(table.width)}
    # One width must not carry all the others, whose effects then need only be of the right sign.
    controls = {
        f"without width {n}": over(question.primary, table.width != n)
        for n in widths
        if len(widths) > 1
    }
    controls |= {
        name: over(np.where(kept, question.primary, np.nan))
        for name, kept in question.controls.items()
    }
    progress = None
    if question.level is None:
        loss = np.where(np.isfinite(question.primary) & (question.loss > 0), question.loss, np.nan)
        progress = _over(table, question, np.log(loss), limits, relative=True)
    return over(question.primary), widths, controls, progress


def _accuracy(question: Question, progress: Trend | None) -> Trend | None:
    """The progress that an accuracy is judged beside; λ_max has its own trend at equal loss."""
    return progress if not question.relative else None


def _rivals(
    table: Blocks, question: Question, progress: Trend | None, limits: Thresholds
) -> Iterator[Reason]:
    """What would explain an effect as well as the regularizer ‖∇E‖² does."""
    if not table.full_batch.all():
        yield Reason("batches")
    else:
        measured = np.isfinite(question.primary)
        here = _medians(np.where(measured, question.edge, np.nan))
        unknown = measured.any(axis=0) & np.isnan(here)
        levels = (float(level) for level in table.shared.get("level", ()))
        # A run that was at the edge on its way has been shaped by it.
        ways = [edge_of(table, table.lambda_max_at(level)) for level in levels]
        seen = np.concatenate([here, *map(_medians, ways)])
        if unknown.any() or (seen[np.isfinite(seen)] > _MODERATE).any():
            yield Reason("edge")
    if not table.smooth.all():
        yield Reason("kinks")
    if progress is not None and (not progress.blocks or min(progress.p) < limits.significance):
        yield Reason("loss")


def _levels(table: Blocks, judged: float, limits: Thresholds) -> Iterator[Level]:
    """What 2.1 comes to at the training losses at which enough blocks have a value."""
    power = int(np.floor(np.log10(judged)))
    grid = {float(f"{d}e{power + k}") for k in (-2, -1, 0, 1, 2) for d in _DIGITS}
    near = {level for level in grid if 1 / 10.001 <= level / judged <= 10.001}
    for level in sorted({*near, judged}, reverse=True):
        question = at_level(table, level, edge=limits.edge, least=limits.least_squared_gradient)
        total, widths, controls, _ = _trends(table, question, limits)
        if total.blocks >= limits.blocks:
            found: Observation = observation_of(question, total, widths, controls, limits)[0]
            yield Level(level, found, total, _medians(question.time))


def _standing(table: Blocks, question: Question) -> Standing:
    here = np.isfinite(question.primary)
    of = [question.loss, question.time, question.edge, question.curvature_loss]
    loss, time, edge, curvature_loss = (_medians(np.where(here, one, np.nan)) for one in of)
    return Standing(
        table.effective_rate,
        question.level,
        loss,
        time,
        edge,
        np.where(np.isfinite(edge), curvature_loss, np.nan),
        tuple(sorted({int(n) for n in table.num_matvecs if n})),
    )


def _medians(values: np.ndarray) -> np.ndarray:
    """Of each column over the rows that have a value; NaN where none has."""
    kept = [column[np.isfinite(column)] for column in values.T]
    return np.array([np.median(column) if len(column) else np.nan for column in kept])
