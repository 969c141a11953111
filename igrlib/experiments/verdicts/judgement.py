"""What a recorded sweep says of P1 to P4, and what that is evidence for.

Each prediction has one primary statistic: the trend of one quantity with h, within blocks of equal
width, batch size and seed. An exact permutation test and the size of the trend judge it. The same
is asked of the regularizer alone, added explicitly at a small step. The thresholds were written
down before the records that they judge.

Source: Section 2, Predictions 2.1-2.4, and Section 4; chapters 7, *MNIST*, 9, *Explicit
regularization*, and 12, *What held*.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms, missing_units, table_of
from igrlib.experiments.table import explicit as with_penalty
from igrlib.experiments.table import plain as without_penalty
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.equal_loss import lambda_max_at, trend_of
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
from igrlib.experiments.verdicts.trends import Trend
from igrlib.experiments.verdicts.verdict import Level, Standing, Verdict

__all__ = ["judge"]

_DIGITS = (1, 2, 5)
"""The other levels of P1 are these times powers of ten, up to a decade from the level judged."""

_MODERATE = 1.0
"""h·λ_max beyond which the first-order theory has no claim. Source: chapter 6, quadratics."""


def judge(
    record: Record | None,
    arm: str = "sgd",
    *,
    explicit: bool = False,
    thresholds: Thresholds | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on P1 to P4, the paper's Predictions 2.1 to 2.4, from one arm of a record.

    They compare the models without explicit regularization by their learning rates h. With
    `explicit` they compare the models of the smallest learning rate h_s by their effective rates
    h_s + 4μ: what the regularizer does without the large step. `thresholds` are by default those
    that the record was made with.

    Reproduced: p is under `significance` in the predicted direction, and the effect is large enough
    to matter, has the same sign at every width, and remains without any one width and under every
    control. Reproduced in part: a control fails or has too few blocks, or the effect is there at
    some widths only. Not reproduced: p is under `significance` in the other direction, or the
    interval leaves out every effect that matters. Cannot tell: anything else; an accuracy that
    follows the training loss, where no fitted models separate the two; and always without a record
    or with units missing, since a test must not stop where its numbers please.

    The reading is a second word: an observation is evidence for the regularizer only where nothing
    else could explain it. With batches stability is not excluded, with ReLU the loss has kinks,
    beyond h·λ_max = 1 the first order is not enough, and at chosen points the training losses may
    differ.

    Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 12, *What held*.
    """
    claims = CAUSES if explicit else CLAIMS
    if record is None:
        return _all_unknown(claims, Reason("no record"))
    if arm not in arms(record):
        return _all_unknown(claims, Reason("no arm", (arm,)))
    try:
        limits = thresholds or recorded_thresholds(record, arm)
        table = table_of(record, arm)
        table = with_penalty(table) if explicit else without_penalty(table)
        asked = questions(table, level=limits.level, edge=limits.edge, least=limits.least())
        if explicit:
            asked = [replace(question, factor="h + 4μ") for question in asked]
        found = [_judged(table, q, claims[q.prediction], limits, explicit=explicit) for q in asked]
    except ValueError as error:
        return _all_unknown(claims, Reason("not usable", (str(error),)))
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
    """Why `arm` of a record must not be judged yet; None where nothing is missing."""
    if record.expected is None:
        return Reason("nobody has said")
    missing = missing_units(record, arm)
    return Reason("not yet run", missing) if missing else None


def _all_unknown(claims: Mapping[str, str], reason: Reason) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(number, claim, "cannot tell", reasons=(reason,)) for number, claim in claims.items()
    )


def _judged(
    table: xr.Dataset, question: Question, claim: str, limits: Thresholds, *, explicit: bool
) -> Verdict:
    total, widths, controls, progress = _trends(question, limits)
    # An accuracy is judged beside the progress; λ_max has its own trend at equal loss.
    beside = None if question.relative else progress
    observation, reasons = observation_of(question, total, widths, controls, limits, beside)
    rivals = tuple(_rivals(table, question, progress, limits))
    measured = question.primary.notnull()
    models, diverged = int(table["finished"].sum()), int(table["diverged"].sum())
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
            name: trend_of(quantity, relative=question.relative, limits=limits)
            for name, quantity in question.beside.items()
        },
        () if question.level is None else tuple(_levels(table, question.level, limits)),
        progress,
        _standing(table, question),
        models,
        diverged,
        models - diverged - int(measured.sum()),
        int((question.edge.where(measured) > limits.edge).sum()),
    )


def _trends(
    question: Question, limits: Thresholds
) -> tuple[Trend, dict[int, Trend], dict[str, Trend], Trend | None]:
    """The trends over all blocks, by width and under each control; the loss's at chosen points."""
    primary = question.primary
    width = primary["width"].values

    def over(quantity: xr.DataArray) -> Trend:
        return trend_of(quantity, relative=question.relative, limits=limits)

    widths = {int(n): over(primary.isel(block=width == n)) for n in np.unique(width)}
    # One width must not decide for all others. Without it the effects need only the right sign.
    controls = {
        f"without width {n}": over(primary.isel(block=width != n))
        for n in widths
        if len(widths) > 1
    }
    controls |= {name: over(primary.where(kept)) for name, kept in question.controls.items()}
    progress = None
    if question.level is None:
        loss = question.loss.where(primary.notnull() & (question.loss > 0))
        progress = trend_of(xr.ufuncs.log(loss), relative=True, limits=limits)
    return over(primary), widths, controls, progress


def _rivals(
    table: xr.Dataset, question: Question, progress: Trend | None, limits: Thresholds
) -> Iterator[Reason]:
    """What would explain an effect as well as the regularizer ‖∇E‖² does."""
    if not table["full_batch"].all():
        yield Reason("batches")
    else:
        measured = question.primary.notnull()
        here = question.edge.where(measured).median("block")
        unknown = measured.any("block") & here.isnull()
        # A run that was at the edge on its way has been shaped by it.
        ways = [edge_of(lambda_max_at(table, level)) for level in table["level"].values.tolist()]
        medians = [here, *(way.median("block") for way in ways)]
        if unknown.any() or any((median > _MODERATE).any() for median in medians):
            yield Reason("edge")
    if not table["smooth"].all():
        yield Reason("kinks")
    if progress is not None and (not progress.blocks or min(progress.p) < limits.significance):
        yield Reason("loss")


def _levels(table: xr.Dataset, judged: float, limits: Thresholds) -> Iterator[Level]:
    """P1 at the training losses at which enough blocks have a value."""
    power = int(np.floor(np.log10(judged)))
    grid = {float(f"{d}e{power + k}") for k in (-2, -1, 0, 1, 2) for d in _DIGITS}
    near = {level for level in grid if 1 / 10.001 <= level / judged <= 10.001}
    for level in sorted({*near, judged}, reverse=True):
        question = at_level(
            table, level, edge=limits.edge, least=limits.least_squared_gradient, alone=True
        )
        total, widths, controls, _ = _trends(question, limits)
        if total.blocks >= limits.blocks:
            found: Observation = observation_of(question, total, widths, controls, limits)[0]
            yield Level(level, found, total, question.time.median("block").values)


def _standing(table: xr.Dataset, question: Question) -> Standing:
    here = question.primary.notnull()
    of = [question.loss, question.time, question.edge, question.curvature_loss]
    loss, time, edge, curvature_loss = (one.where(here).median("block").values for one in of)
    return Standing(
        table["effective_rate"].values,
        question.level,
        loss,
        time,
        edge,
        np.where(np.isfinite(edge), curvature_loss, np.nan),
        tuple(sorted({int(n) for n in table["num_matvecs"].values if n})),
    )
