"""Whether flatness explains accuracy: the step from Prediction 2.2 to 2.3 as a claim of its own.

If flat minima generalize because they are flat, then equally flat models are equally accurate,
whatever made them flat. We therefore compare accuracy with flatness twice, within blocks and at
equal training loss. Among plain models the step makes minima flat; among models of one step the
penalty μ makes them flat. The claim needs both effects, of one sign and of similar size. The first
effect alone is an association: the step may act on accuracy in other ways.

Source: Section 2, Predictions 2.2 and 2.3; chapter 10, *The edge of stability*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.equal_loss import accuracy_at, lambda_max_at, log_at
from igrlib.experiments.verdicts.ratios import Ratio, pooled_slope
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.together import judged_together, together
from igrlib.experiments.verdicts.trends import Tails, exact_tails

__all__ = [
    "FLATNESS",
    "Association",
    "Explanation",
    "Flatness",
    "FlatnessThresholds",
    "Way",
    "association",
    "explanation_of",
    "groups_of",
    "judge_flatness",
    "way_of",
]

Explanation: TypeAlias = Literal[
    "explains",
    "explains in part",
    "association only",
    "of the penalty only",
    "does not explain",
    "cannot tell",
]
"""What a record shows about the claim."""

Way: TypeAlias = Literal["better", "worse", "no matter", "cannot tell"]
"""Whether accuracy is better where the minimum is flatter."""

FLATNESS: dict[str, Callable[[xr.Dataset, float], xr.DataArray]] = {
    "lambda_max": lambda t, e: xr.ufuncs.log2(lambda_max_at(t, e)),
    "slope": lambda t, e: log_at(t, "train_squared_gradient", e) / (2 * np.log(2.0)),
}
"""Functions of a table and a training loss: the base-2 logarithms of λ_max and the slope ‖∇E‖."""


@dataclass(frozen=True)
class FlatnessThresholds:
    """The thresholds of a verdict, besides the arm's level, significance and least accuracy.

    For the arm the least accuracy is per doubling of h. Here it is per halving of λ_max or the
    slope.

    Source: chapter 10, *The edge of stability*.
    """

    halvings: float = 0.5
    """The least mean range of a block, in halvings. With less, nothing made the models flat."""
    factor: float = 2.0
    """Two effects are of similar size if they differ by at most this factor."""
    blocks: int = 4
    """The fewest blocks for a test."""
    seeds: int = 4
    """The fewest different seeds for an interval."""


@dataclass(frozen=True, eq=False)
class Association:
    """Accuracy against flatness within blocks: points of accuracy per halving.

    effect: with its interval over blocks; p: exact p-values, for accuracy that falls or rises as
    λ_max or the slope halves; halvings: the mean range within a block; cells: the number of models;
    seeds: the number of different seeds; way: by the rules of `way_of`.

    Source: chapter 10, *The edge of stability*.
    """

    effect: Ratio
    p: Tails
    halvings: float
    cells: int
    seeds: int
    way: Way


@dataclass(frozen=True, eq=False)
class Flatness:
    """A verdict on accuracy and flatness, where the step and where the penalty made models flat.

    measure: one of `FLATNESS`; level: the training loss; word: what the record shows about the
    claim; over_h, over_mu: the two associations, None where nothing was compared; levels: the words
    at other training losses; missing: the units that the record lacks.

    Source: chapter 10, *The edge of stability*.
    """

    arm: str
    measure: str
    level: float
    word: Explanation
    reasons: tuple[Reason, ...] = ()
    over_h: Association | None = None
    over_mu: Association | None = None
    levels: dict[float, Explanation] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)


def association(
    flat: xr.DataArray,
    accuracy: xr.DataArray,
    *,
    within: str | None = None,
    judged: Thresholds | None = None,
    limits: FlatnessThresholds | None = None,
) -> Association:
    """How accuracy changes with flatness within blocks.

    flat: base-2 logarithms of λ_max or the slope; accuracy: in per cent; both (block, treatment).
    within: a coordinate of the treatments, such as learning_rate. Models are then compared only
    with models of the same value; None compares all treatments of a block. The effect is the slope
    of least squares within these groups, pooled over blocks. The test is Page's over the groups,
    each with its own ranks of flatness.

    Source: chapter 10, *The edge of stability*.
    """
    judged, limits = judged or Thresholds(), limits or FlatnessThresholds()
    number = flat.sizes["block"]
    above, below, ranges = (np.full(number, np.nan) for _ in range(3))
    groups = groups_of(flat, accuracy, within=within)
    for b in sorted({b for b, _, _ in groups}):
        pairs = [(x - x.mean(), y - y.mean()) for of, x, y in groups if of == b]
        above[b], below[b] = sum(x @ y for x, y in pairs), sum(x @ x for x, _ in pairs)
        ranges[b] = np.mean([np.ptp(x) for x, _ in pairs])
    rows = [y[np.argsort(x)] for _, x, y in groups]
    cells = sum(len(x) for _, x, _ in groups)
    used = np.isfinite(above)
    effect = pooled_slope(above, below, confidence=judged.confidence)
    p = exact_tails(rows)
    halvings = float(ranges[used].mean()) if used.any() else np.nan
    seeds = len(np.unique(flat["seed"].values[used]))
    return Association(
        effect, p, halvings, cells, seeds, way_of(effect, p, halvings, seeds, judged, limits)
    )


def groups_of(
    flat: xr.DataArray, accuracy: xr.DataArray, *, within: str | None = None
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """The groups that `association` compares: the block, the halvings and the accuracies of each.

    A group has at least two models with a flatness and an accuracy. Halvings are −log₂ of λ_max or
    the slope; only their differences have a meaning.

    Source: chapter 10, *The edge of stability*.
    """
    flat, accuracy = (one.transpose("block", "treatment") for one in (flat, accuracy))
    group = np.zeros(flat.sizes["treatment"]) if within is None else flat[within].values
    known = np.isfinite(flat.values) & np.isfinite(accuracy.values)
    return [
        (b, -flat.values[b][part], accuracy.values[b][part])
        for b in range(flat.sizes["block"])
        for one in np.unique(group)
        if (part := known[b] & (group == one)).sum() > 1
    ]


def way_of(
    effect: Ratio,
    p: Tails,
    halvings: float,
    seeds: int,
    judged: Thresholds,
    limits: FlatnessThresholds,
) -> Way:
    """The word for an effect of flatness on accuracy.

    Better or worse: p is under the significance, and the effect is the least accuracy or more. No
    matter: the interval lies within ± the least accuracy. Cannot tell: all else, too few blocks,
    and too few halvings, where nothing made the models flat.

    Source: chapter 10, *The edge of stability*.
    """
    if effect.blocks < limits.blocks or not halvings >= limits.halvings:
        return "cannot tell"
    least = judged.least_accuracy
    if p.rising < judged.significance and effect.value >= least:
        return "better"
    if p.falling < judged.significance and effect.value <= -least:
        return "worse"
    known = effect.interval is not None and seeds >= limits.seeds
    if known and max(map(abs, effect.interval or ())) < least:
        return "no matter"
    return "cannot tell"


def explanation_of(
    over_h: Association, over_mu: Association, limits: FlatnessThresholds
) -> tuple[Explanation, tuple[Reason, ...]]:
    """What two associations show about the claim.

    Explains: accuracy is better over both h and μ, the intervals overlap, and the effects differ by
    at most the factor. In part: better over both, but the sizes differ more. Association only:
    better over h, and worse or no matter over μ. Of the penalty only: better over μ, and worse or
    no matter over h. Does not explain: better over neither. Cannot tell: one of the two cannot
    tell.

    Source: chapter 10, *The edge of stability*.
    """
    ways = (over_h.way, over_mu.way)
    if "cannot tell" in ways:
        silent = [name for name, way in zip(("h", "μ"), ways, strict=True) if way == "cannot tell"]
        return "cannot tell", (Reason("silent", tuple(silent)),)
    if ways == ("better", "better"):
        one, other = over_h.effect, over_mu.effect
        ratio = one.value / other.value
        ends = (one.interval, other.interval)
        if None in ends or not 1 / limits.factor <= ratio <= limits.factor:
            return "explains in part", (Reason("other size"),)
        (a, b), (c, d) = ends  # pyright: ignore[reportGeneralTypeIssues]
        if b < c or d < a:
            return "explains in part", (Reason("other size"),)
        return "explains", ()
    if over_h.way == "better":
        return "association only", ()
    if over_mu.way == "better":
        return "of the penalty only", ()
    return "does not explain", ()


def judge_flatness(
    record: Record | None,
    arm: str | Sequence[str],
    *,
    thresholds: Thresholds | None = None,
    limits: FlatnessThresholds | None = None,
) -> tuple[Flatness, ...]:
    """Two verdicts, with λ_max and with the slope for flatness, from one or more arms of a record.

    Several arms must have the same treatments; their blocks are pooled as in `judge_ladder`. Plain
    models are compared over h, models of one h over μ. `thresholds` are by default the record's
    own. Words follow `explanation_of`. Without a record, and where units are missing, the word is
    "cannot tell".

    Source: Section 2, Predictions 2.2 and 2.3; chapter 10, *The edge of stability*.
    """
    limits = limits or FlatnessThresholds()
    return judged_together(
        record,
        arm,
        thresholds,
        lambda label, tables, judged: [
            _judged(label, tables, name, judged, limits) for name in FLATNESS
        ],
        _unknown,
    )


def _unknown(arm: str, level: float, reason: Reason) -> tuple[Flatness, ...]:
    return tuple(Flatness(arm, name, level, "cannot tell", (reason,)) for name in FLATNESS)


def _judged(
    arm: str,
    tables: Sequence[xr.Dataset],
    name: str,
    judged: Thresholds,
    limits: FlatnessThresholds,
) -> Flatness:
    table = tables[0]

    def at(level: float) -> tuple[Association, Association]:
        flat = together(tables, lambda one: FLATNESS[name](one, level))
        accuracy = together(tables, lambda one: accuracy_at(one, level))
        plain = (table["mu"] == 0).values
        return (
            association(
                flat.isel(treatment=plain),
                accuracy.isel(treatment=plain),
                judged=judged,
                limits=limits,
            ),
            association(flat, accuracy, within="learning_rate", judged=judged, limits=limits),
        )

    over_h, over_mu = at(judged.level)
    word, reasons = explanation_of(over_h, over_mu, limits)
    levels: dict[float, Explanation] = {
        other: explanation_of(*at(other), limits)[0]
        for other in table["level"].values.tolist()
        if not np.isclose(other, judged.level)
    }
    return Flatness(
        arm, name, judged.level, word, reasons, over_h, over_mu, levels, thresholds=judged
    )
