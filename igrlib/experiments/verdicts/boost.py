"""Whether explicit regularization lifts test accuracy over the best plain learning rate.

Both sides choose on validation, their learning rate, μ and time, and both may compute as many
gradients: a step on E + μ‖∇E‖² takes two, so that it has half of the steps. The paper's Figure 3c
compares models of one learning rate instead, after equal numbers of steps.

Source: Section 6, Figure 3c; chapters 9, *Explicit regularization*, and 12, *What held*.
"""

from dataclasses import dataclass

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms, missing_units, table_of
from igrlib.experiments.table import plain as without_penalty
from igrlib.experiments.verdicts.judgement import not_whole_reason
from igrlib.experiments.verdicts.rules import Observation, Reading, Reason
from igrlib.experiments.verdicts.verdict import Boost, Verdict

__all__ = ["BOOST", "Boost", "BoostThresholds", "boost", "judge_boost"]

BOOST = "explicit regularization lifts test accuracy by more than 12 points"
"""The paper's claim about Figure 3c."""


@dataclass(frozen=True)
class BoostThresholds:
    """The thresholds of a verdict on the boost, in points of test accuracy, in every seed.

    Source: chapter 9, *Explicit regularization*.
    """

    claimed: float = 12.0
    """The gain that the paper claims."""
    least: float = 1.0
    """Two standard errors of an accuracy of 60 to 75 % on 10,000 images: less is no boost."""
    seeds: int = 3
    """The fewest seeds of a verdict."""
    rates: int = 3
    """The fewest learning rates of plain models among which a best one is chosen."""


def boost(regularized: xr.Dataset, plain: xr.Dataset) -> Boost:
    """The boost in the blocks that both tables have; models of `plain` with μ > 0 do not count.

    Raises `ValueError` where no block is in both, no model of `regularized` has μ > 0, or either
    was measured without a validation split.

    Source: Figure 3c; chapter 9.
    """
    plain = without_penalty(plain)
    where = {key: row for row, key in enumerate(_keys(plain))}
    rows = [(k, where[key]) for k, key in enumerate(_keys(regularized)) if key in where]
    regularized = regularized.isel(treatment=(regularized["mu"] > 0).values)
    if not rows or not regularized.sizes["treatment"]:
        raise ValueError("regularized and plain must have blocks in common, with and without μ > 0")
    ours, theirs = (list(side) for side in zip(*rows, strict=True))
    gradients = int(plain["stop"].max())
    one = _best(plain.isel(block=theirs), gradients)
    other = _best(regularized.isel(block=ours), gradients // 2)
    return Boost(
        seed=one["seed"].values,
        plain=100 * one["test_accuracy"].values,
        explicit=100 * other["test_accuracy"].values,
        plain_rate=one["learning_rate"].values,
        explicit_rate=other["learning_rate"].values,
        explicit_mu=other["mu"].values,
        gradients=gradients,
        plain_rates=plain["learning_rate"].values,
        explicit_rates=np.unique(regularized["learning_rate"]),
    )


def judge_boost(
    record: Record | None,
    arm: str = "resnet",
    *,
    plain: tuple[Record, str] | None = None,
    thresholds: BoostThresholds | None = None,
) -> Verdict:
    """The verdict on the paper's 12 points, from one arm of a record.

    `plain` is the record and arm with the plain models; None takes those of the same arm.
    Reproduced: over 12 points in every seed; in part: over `least` in every seed; not reproduced:
    over `least` in none; cannot tell: anything else, fewer seeds or plain rates than wanted, or
    units missing. A gain is an effect of the penalty; the record cannot say by which mechanism.

    Source: Section 6, Figure 3c; chapters 9 and 12.
    """
    limits = thresholds or BoostThresholds()
    if record is None or arm not in arms(record):
        return _verdict("cannot tell", Reason("no arm", (arm,)))
    sides = dict.fromkeys([(record, arm), plain or (record, arm)])
    missing = tuple(name for side in sides for name in missing_units(*side))
    try:
        found = boost(*(table_of(*side) for side in ((record, arm), plain or (record, arm))))
    except ValueError as error:
        return _verdict("cannot tell", Reason("not usable", (str(error),)))
    lacking = [reason for side in sides if (reason := not_whole_reason(*side))]
    if lacking:
        return _verdict("cannot tell", *lacking, found=found, missing=missing)
    word, reason = _word(found, limits)
    return _verdict(word, *reason, found=found)


def _word(found: Boost, limits: BoostThresholds) -> tuple[Observation, tuple[Reason, ...]]:
    if len(found.plain_rates) < limits.rates:
        return "cannot tell", (Reason("few rates", (str(limits.rates),)),)
    known = np.isfinite(found.points)
    points = found.points[known]
    if len(np.unique(found.seed[known])) < limits.seeds:
        return "cannot tell", (Reason("few seeds", (str(limits.seeds),)),)
    if points.min() > limits.claimed:
        return "reproduced", ()
    if points.min() > limits.least:
        return "reproduced in part", (Reason("under the claim", (f"{limits.claimed:g}",)),)
    if points.max() <= limits.least:
        return "not reproduced", (Reason("no gain", (f"{limits.least:g}",)),)
    return "cannot tell", (Reason("some gain"),)


def _verdict(
    word: Observation,
    *reasons: Reason,
    found: Boost | None = None,
    missing: tuple[str, ...] = (),
) -> Verdict:
    readings: dict[Observation, Reading] = {
        "reproduced": "effect of the penalty, mechanism open",
        "reproduced in part": "effect of the penalty, mechanism open",
        "not reproduced": "evidence against the prediction",
        "cannot tell": "none",
    }
    return Verdict("3c", BOOST, word, readings[word], reasons, missing=missing, boost=found)


def _keys(table: xr.Dataset) -> list[tuple[int, int, int]]:
    columns = (table[name].values.tolist() for name in ("width", "batch_size", "seed"))
    return list(zip(*columns, strict=True))


def _best(table: xr.Dataset, last: int) -> xr.Dataset:
    """The best model of each block by validation accuracy up to step `last`, at its best step."""
    if table["validation_accuracy"].isnull().all():
        raise ValueError("both must have a validation split to choose on")
    early = table.sel(score_step=slice(None, last))
    best = early["validation_accuracy"].fillna(-1.0).argmax(("treatment", "score_step"))
    return early[["test_accuracy"]].isel(best)
