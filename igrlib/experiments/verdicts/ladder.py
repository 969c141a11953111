"""The ladder: whether small steps with the regularizer of a large one end where that one ends.

Each rung is a small step h_s, trained with μ = (h_L − h_s)/4 and without, beside the large step
h_L. Two hypotheses say without a free parameter which plain step a model (h, μ) is like:

- *regularizer*: the plain step h + 4μ, of as strong an implicit regularizer. On every rung it is
  h_L itself.
- *edge*: the plain step of the same edge. Descent on E + μ‖∇E‖² is unstable on a quadratic where
  h·λ(1 + 2μλ) > 2, plain descent of a step k where k·λ > 2: the edges are the same for
  k = (h + √(h² + 16μh))/2. As h_s falls it falls with √(h_s·h_L).

What a plain step of the size k comes to is read off the block's own plain models, log h between the
two nearest; so that the edge of batches, which is far below 2/h, needs no number of its own, and a
step at which nothing was at the edge is like its neighbours. Where the edge binds λ_max = 2/k is
the bound itself, which stands beside.

Source: not in the paper; chapter 10, *The edge of stability*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.contrasts import LEAST, Contrast, contrast
from igrlib.experiments.verdicts.equal_loss import (
    accuracy_at,
    lambda_max_at,
    log_at,
    time_at,
    trend_of,
)
from igrlib.experiments.verdicts.predictions import edge_of
from igrlib.experiments.verdicts.ratios import Ratio, ratio_of_means
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.together import judged_together, together
from igrlib.experiments.verdicts.trends import Trend
from igrlib.regularizer import matching_mu

__all__ = [
    "MEASURES",
    "Hypothesis",
    "Ladder",
    "LadderThresholds",
    "Rung",
    "agreed",
    "edge_step",
    "judge_ladder",
    "rungs_of",
    "word_of",
]

Hypothesis: TypeAlias = Literal["regularizer", "edge", "between", "neither", "cannot tell"]
"""Which hypothesis an observation agrees with."""

MEASURES: dict[str, tuple[Callable[[xr.Dataset, float], xr.DataArray], bool]] = {
    "squared_gradient": (lambda t, e: log_at(t, "train_squared_gradient", e), True),
    "lambda_max": (lambda t, e: _log(lambda_max_at(t, e)), True),
    "accuracy": (accuracy_at, False),
}
"""What is read off at equal training loss, and whether it is a natural logarithm."""


@dataclass(frozen=True)
class LadderThresholds:
    """What a verdict on the ladder takes, besides the level and the confidence of the arm.

    Source: chapter 10, *The edge of stability*.
    """

    margin: float = 0.25
    """Of the way from the edge's prediction to the regularizer's: nearer than this an observation
    agrees with a prediction. Both are first-order statements, and no closer than that."""
    half: float = 0.5
    """Of the same way: an interval that holds a prediction must not reach beyond the middle."""
    blocks: int = 4
    """The fewest with all models of a rung."""
    seeds: int = 4
    """Different seeds for an interval; two widths make eight blocks of them."""
    squared_gradient: float = LEAST["squared_gradient"]
    """Per cent by which the two predictions must differ to be told apart."""
    lambda_max: float = LEAST["lambda_max"]
    """Per cent, likewise."""
    accuracy: float = LEAST["accuracy"]
    """Points of test accuracy, likewise."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One small step beside the large one, or, where `learning_rate` is None, all of them.

    mu: of the regularized models; like: the plain step of the same edge. kept, plain, edge: how far
    the models (h_s, μ), the models (h_s, 0) and the edge's prediction are from those of h_L, whose
    distance from h_L the regularizer predicts to be 0; from_edge: how far (h_s, μ) is from the
    edge's prediction. share: of the distance from (h_s, 0) to h_L that (h_s, μ) has gone, which is
    1 for the regularizer, and edge_share for the edge. position: of (h_s, μ) between the
    predictions, 0 the edge's, 1 the regularizer's. bound: the distance of 2/`like` from 2/h_L in
    per cent, of λ_max alone. word, reasons: by the rules of `word_of`.
    """

    learning_rate: float | None
    mu: float | None
    like: float | None
    kept: Contrast
    plain: Contrast
    edge: Contrast
    from_edge: Contrast
    share: Ratio
    edge_share: float
    position: Ratio
    word: Hypothesis
    reasons: tuple[Reason, ...]
    bound: float | None = None


@dataclass(frozen=True, eq=False)
class Ladder:
    """The verdict of one measure at equal training loss.

    measure: one of `MEASURES`; large: h_L; rungs: from the largest step down; whole: all rungs
    together, each block with the mean over its rungs. word: of `whole`, unless units are missing or
    widths disagree. falling, plain_falling, edge_falling: the trend per doubling of h_s along the
    models (h_s, μ) and h_L, along plain ones, and along the edge's prediction; the regularizer
    predicts 0. widths: `whole` of each width. standing: medians at the level of edge, which is
    h·λ_max(1 + 2μλ_max), batch_sharpness times h, where it was measured, and time, n·h: of the
    models "large", h_L, then along the rungs "kept", (h_s, μ), and "plain", (h_s, 0). levels: the
    words at other losses.
    """

    arm: str
    measure: str
    relative: bool
    level: float
    word: Hypothesis
    reasons: tuple[Reason, ...] = ()
    large: float = float("nan")
    rungs: tuple[Rung, ...] = ()
    whole: Rung | None = None
    falling: Trend | None = None
    plain_falling: Trend | None = None
    edge_falling: Trend | None = None
    widths: dict[int, Rung] = field(default_factory=dict)
    standing: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    levels: dict[float, Hypothesis] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def unit(self) -> str:
        """Of a distance."""
        return "%" if self.relative else "points"


def edge_step(learning_rate: float, mu: float) -> float:
    """The plain step that is unstable on the same quadratics as `learning_rate` with `mu`.

    It is 2/c for the root c of h·c·(1 + 2μc) = 2. Source: chapter 10, *The edge of stability*.
    """
    h = learning_rate
    return (h + np.sqrt(h * h + 16 * mu * h)) / 2


def rungs_of(table: xr.Dataset) -> list[tuple[float, float]]:
    """The small steps h_s of a table that are there with μ = (h_L − h_s)/4 and without, and that μ.

    From the largest down. Raises `ValueError` without any, or without plain models of h_L.

    Source: chapter 10, *The edge of stability*.
    """
    h, mu = table["learning_rate"].values, table["mu"].values
    plain = h[mu == 0]
    large = float(h.max())
    found = []
    for small in sorted(set(plain.tolist()) - {large}, reverse=True):
        here = mu[(h == small) & np.isclose(mu, matching_mu(small, large), rtol=1e-4)]
        found += [(small, float(here[0]))] if len(here) else []
    if not found or large not in plain:
        raise ValueError(
            "table must have plain models of its largest learning rate h_L, and smaller ones with "
            "μ = 0 and μ = (h_L − h)/4, got none"
        )
    return found


def word_of(
    position: Ratio,
    gap: Contrast,
    off: tuple[Contrast, Contrast],
    least: float,
    limits: LadderThresholds,
) -> tuple[Hypothesis, tuple[Reason, ...]]:
    """Which hypothesis a position agrees with, by its interval.

    `gap`: how far the edge's prediction is from the regularizer's; `off`: how far the observation
    is from each. Cannot tell: too few blocks; or predictions that differ by less than `least`, or
    so little that the position has no bounds; or an interval that fits none of the following.
    Regularizer: an interval that holds 1, or lies within the margin of it, and does not reach
    beyond half of the way between the predictions on either side; edge: likewise with 0. Between:
    an interval that leaves out both, and lies between them. Neither: one that lies beyond either by
    more than the margin; or, of predictions that do not differ, an observation that is off both,
    the same way, by a `contrast`.

    Source: chapter 10, *The edge of stability*.
    """
    if position.blocks < limits.blocks:
        return "cannot tell", (Reason("few whole blocks", (str(limits.blocks),)),)
    if abs(gap.difference.effect) < least or position.interval is None:
        seen = {one.observation for one in off}
        if seen in ({"larger"}, {"smaller"}):
            return "neither", (Reason("off both"),)
        return "cannot tell", (Reason("same predictions"),)
    if gap.difference.interval is None:
        return "cannot tell", (Reason("few seeds", (str(limits.seeds),)),)
    low, high = position.interval
    words: tuple[tuple[Hypothesis, float], ...] = (("regularizer", 1.0), ("edge", 0.0))
    for word, at in words:
        holds = low <= at <= high
        near = at - limits.margin <= low and high <= at + limits.margin
        if (holds or near) and at - limits.half <= low and high <= at + limits.half:
            return word, ()
    if low > 0 and high < 1:
        return "between", ()
    if low > 1 + limits.margin:
        return "neither", (Reason("more than the regularizer"),)
    if high < -limits.margin:
        return "neither", (Reason("less than the edge"),)
    return "cannot tell", (Reason("wide"),)


def judge_ladder(
    record: Record | None,
    arm: str | Sequence[str] = "ladder",
    *,
    thresholds: Thresholds | None = None,
    limits: LadderThresholds | None = None,
) -> tuple[Ladder, ...]:
    """The verdicts of a ladder: of ‖∇E‖², λ_max and test accuracy at equal training loss.

    `arm`: one, or several of the same steps whose blocks, such as other widths, stand together.
    `thresholds`: the level and the confidence, by default those that the record was made with. A
    word is that of all rungs together, by `word_of`. It cannot be told without a record or with
    units missing, nor where a width of itself lies beyond the middle from the prediction agreed
    with, or outside of what is between.

    Source: chapter 10, *The edge of stability*.
    """
    limits = limits or LadderThresholds()
    return judged_together(
        record,
        arm,
        thresholds,
        lambda label, tables, judged: [
            _judged(label, tables, name, judged, limits) for name in MEASURES
        ],
        _unknown,
    )


def agreed(words: Sequence[Hypothesis]) -> Hypothesis | Literal["they differ"]:
    """What several arms, measures or rungs say together: the word of all that can tell.

    Source: chapter 10, *The edge of stability*.
    """
    telling: set[Hypothesis] = {word for word in words if word != "cannot tell"}
    if len(telling) > 1:
        return "they differ"
    return telling.pop() if telling else "cannot tell"


def _unknown(arm: str, level: float, reason: Reason) -> tuple[Ladder, ...]:
    return tuple(
        Ladder(arm, name, relative, level, "cannot tell", (reason,))
        for name, (_, relative) in MEASURES.items()
    )


@dataclass(frozen=True, eq=False)
class _Values:
    """A measure of the models of all rungs, (block, rung), NaN where any of a rung is missing."""

    large: xr.DataArray
    kept: xr.DataArray
    plain: xr.DataArray
    edge: xr.DataArray

    def isel(self, **at: object) -> "_Values":
        return _Values(*(one.isel(at) for one in self.every))

    @property
    def every(self) -> tuple[xr.DataArray, ...]:
        return self.large, self.kept, self.plain, self.edge


def _judged(
    arm: str,
    tables: Sequence[xr.Dataset],
    name: str,
    judged: Thresholds,
    limits: LadderThresholds,
) -> Ladder:
    (quantity, relative), table = MEASURES[name], tables[0]
    steps, large = rungs_of(table), float(table["learning_rate"].max())
    value = together(tables, lambda one: quantity(one, judged.level))
    values = _values(value, steps, large)

    def rung(of: _Values) -> Rung:
        return _rung(of, relative, getattr(limits, name), judged, limits)

    rungs = []
    for k, (h, mu) in enumerate(steps):
        like = float(edge_step(h, mu))
        bound = 100 * (large / like - 1) if name == "lambda_max" else None
        one = rung(values.isel(treatment=[k]))
        rungs.append(replace(one, learning_rate=h, mu=mu, like=like, bound=bound))
    whole = rung(values)
    width = value["width"].values
    widths = {int(n): rung(values.isel(block=width == n)) for n in np.unique(width)}
    word, reasons = whole.word, whole.reasons
    alone = [part.position.value for part in widths.values() if part.position.blocks]
    if not all(_lies_with(word, value, limits) for value in alone):
        word, reasons = "cannot tell", (Reason("widths differ"),)
    kept, plain, edge = (
        _falling(one, values.large, large, relative, judged, limits) for one in values.every[1:]
    )
    return Ladder(
        arm,
        name,
        relative,
        judged.level,
        word,
        reasons,
        large,
        tuple(rungs),
        whole,
        kept,
        plain,
        edge,
        widths,
        _standing(tables, judged.level, _places(table, steps, large)),
        {
            other: _word_at(tables, name, other, judged, limits)
            for other in table["level"].values.tolist()
            if not np.isclose(other, judged.level)
        },
        thresholds=judged,
    )


def _standing(
    tables: Sequence[xr.Dataset], level: float, places: tuple[list[int], list[int], list[int]]
) -> dict[str, dict[str, np.ndarray]]:
    """Where the models stand at the level: medians over blocks."""
    found = {
        "edge": together(tables, lambda one: edge_of(lambda_max_at(one, level))),
        "batch_sharpness": together(tables, lambda one: _batch_sharpness(one, level)),
        "time": together(tables, lambda one: time_at(one, level)),
    }
    return {
        name: {
            kind: one.isel(treatment=of).median("block").values
            for kind, of in zip(("large", "kept", "plain"), places, strict=True)
        }
        for name, one in found.items()
        if one.notnull().any()
    }


def _batch_sharpness(table: xr.Dataset, level: float) -> xr.DataArray:
    """h times the batch sharpness where the loss was first seen below a recorded level."""
    at = np.flatnonzero(np.isclose(table["level"], level))
    if "crossing_batch_sharpness" not in table or not len(at):
        return xr.full_like(time_at(table, level), np.nan)
    sharpness = table["crossing_batch_sharpness"].isel(level=int(at[0]))
    return sharpness.drop_vars("level") * table["learning_rate"]


def _lies_with(word: Hypothesis, position: float, limits: LadderThresholds) -> bool:
    """Whether the position of one width is on the side that a word of all of them is of."""
    if word == "regularizer":
        return position > limits.half
    if word == "edge":
        return position < limits.half
    return word != "between" or 0 < position < 1


def _word_at(
    tables: Sequence[xr.Dataset],
    name: str,
    level: float,
    judged: Thresholds,
    limits: LadderThresholds,
) -> Hypothesis:
    quantity, relative = MEASURES[name]
    large = float(tables[0]["learning_rate"].max())
    value = together(tables, lambda one: quantity(one, level))
    values = _values(value, rungs_of(tables[0]), large)
    return _rung(values, relative, getattr(limits, name), judged, limits).word


def _places(
    table: xr.Dataset | xr.DataArray, steps: list[tuple[float, float]], large: float
) -> tuple[list[int], list[int], list[int]]:
    """Where the treatments of h_L, (h_s, μ) and (h_s, 0) stand."""
    keys = zip(table["learning_rate"].values.tolist(), table["mu"].values.tolist(), strict=True)
    at = {key: k for k, key in enumerate(keys)}
    kept, plain = ([at[key] for key in keys] for keys in (steps, [(h, 0.0) for h, _ in steps]))
    return [at[large, 0.0]], kept, plain


def _values(value: xr.DataArray, steps: list[tuple[float, float]], large: float) -> _Values:
    value = value.transpose("block", "treatment")
    at_large, kept, plain = _places(value, steps, large)
    without = value.isel(treatment=(value["mu"] == 0).values).sortby("learning_rate")
    rates = np.log(without["learning_rate"].values)
    found = [
        value.isel(treatment=at_large * len(steps)),
        value.isel(treatment=kept),
        value.isel(treatment=plain),
    ]
    columns = []
    for h, mu in steps:
        like = np.log(edge_step(h, mu))
        k = int(np.clip(np.searchsorted(rates, like), 1, len(rates) - 1))
        share = (like - rates[k - 1]) / (rates[k] - rates[k - 1])
        low, high = (without.isel(treatment=j).values for j in (k - 1, k))
        columns.append(low + share * (high - low))
    found.append(found[1].copy(data=np.stack(columns, axis=-1)))
    whole = np.all([np.isfinite(one.values) for one in found], axis=0)
    return _Values(*(one.copy(data=np.where(whole, one.values, np.nan)) for one in found))


def _rung(
    values: _Values, relative: bool, least: float, judged: Thresholds, limits: LadderThresholds
) -> Rung:
    for_interval = replace(judged, seeds=limits.seeds)
    kept, plain, edge, from_edge = (
        contrast(one, other, relative=relative, least=least, limits=for_interval)
        for one, other in (
            (values.kept, values.large),
            (values.plain, values.large),
            (values.edge, values.large),
            (values.kept, values.edge),
        )
    )
    # With several rungs each block has the means over those that are whole.
    large, at_kept, at_plain, at_edge = (one.mean("treatment").values for one in values.every)
    confidence = judged.confidence
    share = ratio_of_means(at_kept - at_plain, large - at_plain, confidence=confidence)
    edge_share = ratio_of_means(at_edge - at_plain, large - at_plain, confidence=confidence)
    position = ratio_of_means(at_kept - at_edge, large - at_edge, confidence=confidence)
    word, reasons = word_of(position, edge, (kept, from_edge), least, limits)
    return Rung(
        None,
        None,
        None,
        kept,
        plain,
        edge,
        from_edge,
        share,
        edge_share.value,
        position,
        word,
        reasons,
    )


def _falling(
    rungs: xr.DataArray,
    at_large: xr.DataArray,
    large: float,
    relative: bool,
    judged: Thresholds,
    limits: LadderThresholds,
) -> Trend:
    """The trend per doubling of h_s along the rungs and h_L."""
    data = np.concatenate([at_large.values[:, :1], rungs.values], axis=1)
    steps = np.array([large, *rungs["learning_rate"].values])
    one = xr.DataArray(
        data,
        {"effective_rate": ("treatment", steps), "seed": rungs["seed"]},
        ("block", "treatment"),
    )
    few = replace(judged, seeds=limits.seeds, rates=min(judged.rates, len(steps)))
    return trend_of(one, relative=relative, limits=few)


def _log(values: xr.DataArray) -> xr.DataArray:
    return xr.ufuncs.log(values.where(values > 0))
