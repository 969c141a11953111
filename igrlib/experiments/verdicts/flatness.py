"""Whether flatness explains accuracy: 2.2 ⇒ 2.3 as a claim of its own.

If flat minima generalize because they are flat, equal flatness goes with equal accuracy however a
model came by it. So accuracy is set against flatness twice, within blocks and at equal training
loss: among plain models, which the step makes flat, and among models of one step, which the penalty
μ makes flat. The claim takes both, with effects of one sign and like size; the first alone is an
association, which the step may bring about in other ways.

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
"""What is seen of the claim."""

Way: TypeAlias = Literal["better", "worse", "no matter", "cannot tell"]
"""Whether accuracy is better where it is flatter."""

FLATNESS: dict[str, Callable[[xr.Dataset, float], xr.DataArray]] = {
    "lambda_max": lambda t, e: xr.ufuncs.log2(lambda_max_at(t, e)),
    "slope": lambda t, e: log_at(t, "train_squared_gradient", e) / (2 * np.log(2.0)),
}
"""The base-2 logarithms of λ_max and of the slope ‖∇E‖ at a training loss."""


@dataclass(frozen=True)
class FlatnessThresholds:
    """What a verdict takes, besides level, significance and least accuracy of the arm.

    The least accuracy, per doubling of h there, is here per halving of λ_max or of the slope.

    Source: chapter 10, *The edge of stability*.
    """

    halvings: float = 0.5
    """The mean range of a block in halvings: with less nothing was made flat."""
    factor: float = 2.0
    """Two effects are of like size within this factor."""
    blocks: int = 4
    """The fewest for a test."""
    seeds: int = 4
    """Different seeds for an interval."""


@dataclass(frozen=True, eq=False)
class Association:
    """Accuracy against flatness within blocks: points of accuracy per halving.

    effect: with its interval over blocks; p: exact, of accuracy that falls or rises as λ_max, or
    the slope, halves; halvings: the mean range within a block; cells: how many models; seeds: how
    many; way: by the rules of `way_of`.
    """

    effect: Ratio
    p: Tails
    halvings: float
    cells: int
    seeds: int
    way: Way


@dataclass(frozen=True, eq=False)
class Flatness:
    """A verdict: accuracy by flatness that the step, and that the penalty, brought about.

    measure: one of `FLATNESS`; over_h, over_mu: None where they were not looked at; levels: the
    words at other training losses.
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
    """How accuracy goes with flatness within blocks.

    flat: base-2 logarithms (block, treatment) of λ_max or the slope, accuracy: in per cent.
    `within`: a coordinate of the treatments, such as learning_rate, whose values are kept apart
    too; None compares all treatments of a block. The effect is that of least squares within these
    groups, pooled over blocks; the test is Page's over the groups, in each by its own ranks of
    flatness.

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
    """The models that `association` compares: of each group its block, halvings and accuracies.

    A group has at least two models with both; halvings are −log₂, from no common start.

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
    """Better or worse: p under the significance and an effect of the least accuracy or more.

    No matter: an interval within ± the least accuracy. Cannot tell: anything else, too few blocks,
    and where nothing was made flat.

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
    """What two associations say of the claim.

    Explains: better over both, intervals that overlap, and effects within the factor. In part:
    better over both, of other sizes. Association only: better over h, and worse or no matter over
    μ. Of the penalty only: the other way about. Does not explain: better over neither. Cannot tell:
    where either cannot.

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
    """The verdicts on flatness as λ_max and as the slope, from an arm, or several, of a record.

    Of several, of the same treatments, the blocks stand together as in `judge_ladder`. Plain models
    are compared over h, models of one h over μ. `thresholds` are by default those that the record
    was made with. By the rules of `explanation_of`; it cannot be told without a record or with
    units missing.

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
