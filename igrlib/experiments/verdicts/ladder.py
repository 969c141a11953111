"""The ladder: whether small steps with a large step's regularizer end where the large step ends.

Each rung is a small step h_s, trained with μ = (h_L − h_s)/4 and without μ. We compare it with the
large step h_L. Two hypotheses say, without a free parameter, which plain step a model (h, μ)
resembles:

- *regularizer*: the plain step h + 4μ, whose implicit regularizer is as strong. On every rung this
  step is h_L.
- *edge*: the plain step with the same edge. On a quadratic, descent on E + μ‖∇E‖² is unstable where
  h·λ(1 + 2μλ) > 2, and plain descent with a step k is unstable where k·λ > 2. The two edges agree
  for k = (h + √(h² + 16μh))/2. As h_s falls, k falls with √(h_s·h_L).

The block's own plain models predict where a plain step k ends: we interpolate in log h between the
two nearest steps. The edge of batches is far below 2/h, but the interpolation needs no separate
number for it. A step that was not at the edge resembles its neighbours. Where the edge binds,
λ_max = 2/k is the bound itself, and a verdict states it too.

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
"""The hypothesis with which an observation agrees."""

MEASURES: dict[str, tuple[Callable[[xr.Dataset, float], xr.DataArray], bool]] = {
    "squared_gradient": (lambda t, e: log_at(t, "train_squared_gradient", e), True),
    "lambda_max": (lambda t, e: _log(lambda_max_at(t, e)), True),
    "accuracy": (accuracy_at, False),
}
"""Each measure as a function of a table and a training loss; whether it is a natural logarithm."""


@dataclass(frozen=True)
class LadderThresholds:
    """The thresholds of a verdict on the ladder, besides the arm's level and confidence.

    Source: chapter 10, *The edge of stability*.
    """

    margin: float = 0.25
    """A share of the distance between the two predictions. An observation that is nearer to a
    prediction than this agrees with it. Both predictions are of first order, not exact."""
    half: float = 0.5
    """A share of the same distance. An interval that holds a prediction must not reach further from
    it than this, the middle between the two."""
    blocks: int = 4
    """The fewest blocks with all models of a rung."""
    seeds: int = 4
    """The fewest different seeds for an interval. With two widths, four seeds make eight blocks."""
    squared_gradient: float = LEAST["squared_gradient"]
    """The least difference of the two predictions that can tell them apart, in per cent."""
    lambda_max: float = LEAST["lambda_max"]
    """The same for λ_max, in per cent."""
    accuracy: float = LEAST["accuracy"]
    """The same for test accuracy, in points."""


@dataclass(frozen=True, eq=False)
class Rung:
    """One small step compared with the large one, or all small steps (`learning_rate` is None).

    mu: of the regularized models. like: the plain step with the same edge. kept, plain, edge: the
    distances from the models of h_L: of the models (h_s, μ), of the models (h_s, 0) and of the
    edge's prediction. The regularizer predicts that kept is 0. from_edge: the distance of (h_s, μ)
    from the edge's prediction. share: how much of the distance from (h_s, 0) to h_L the models
    (h_s, μ) cover; the regularizer predicts 1, the edge predicts edge_share. position: where
    (h_s, μ) lies between the predictions: 0 at the edge's, 1 at the regularizer's. word, reasons:
    by the rules of `word_of`. bound: the distance of 2/`like` from 2/h_L in per cent, for λ_max
    only.

    Source: chapter 10, *The edge of stability*.
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

    measure: one of `MEASURES`. relative: whether distances are in per cent. level: the training
    loss. large: h_L. rungs: from the largest step down. whole: all rungs together, where each block
    has the mean over its rungs. word: the word of `whole`, or "cannot tell" where units are missing
    or widths disagree. falling, plain_falling, edge_falling: the trends per doubling of h_s along
    the models (h_s, μ) and h_L, along the plain models, and along the edge's prediction; the
    regularizer predicts 0 for the first. widths: `whole` for each width.

    standing: medians over blocks at the level. "edge" is h·λ_max(1 + 2μλ_max), "batch_sharpness" is
    h times the batch sharpness, where it was measured, and "time" is n·h. Each has entries "large"
    for h_L, and along the rungs "kept" for (h_s, μ) and "plain" for (h_s, 0). levels: the words at
    other losses. missing: the units that the record lacks.

    Source: chapter 10, *The edge of stability*.
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
        """The unit of a distance: "%" or "points"."""
        return "%" if self.relative else "points"


def edge_step(learning_rate: float, mu: float) -> float:
    """The plain step that is unstable on the same quadratics as `learning_rate` with `mu`.

    `learning_rate` is positive, `mu` 0 or more. The step is 2/c for the root c of
    h·c·(1 + 2μc) = 2.

    Source: chapter 10, *The edge of stability*.

    Example:
        >>> from igrlib.experiments.verdicts.ladder import edge_step
        >>> float(edge_step(1.0, 0.5))
        2.0
    """
    h = learning_rate
    return (h + np.sqrt(h * h + 16 * mu * h)) / 2


def rungs_of(table: xr.Dataset) -> list[tuple[float, float]]:
    """The pairs (h_s, μ) of a table that has h_s with μ = (h_L − h_s)/4 and with μ = 0.

    The largest h_s comes first. Raises `ValueError` where the table has no such pair, or no plain
    models of h_L.

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
            "μ = 0 and μ = (h_L − h)/4, got none: take an arm with ladder=True"
        )
    return found


def word_of(
    position: Ratio,
    gap: Contrast,
    off: tuple[Contrast, Contrast],
    least: float,
    limits: LadderThresholds,
) -> tuple[Hypothesis, tuple[Reason, ...]]:
    """The hypothesis with which a position agrees, judged by its interval.

    gap: the distance of the edge's prediction from the regularizer's. off: the distances of the
    observation from the regularizer's and from the edge's prediction. least: the least gap that can
    tell the predictions apart, in its unit.

    Regularizer: the interval holds 1 or lies within the margin of 1, and it does not reach further
    from 1 than half of the distance between the predictions. Edge: the same with 0. Between: the
    interval lies between 0 and 1 and holds neither. Neither: the interval lies outside of 0 and 1
    by more than the margin; or the predictions do not differ, and by `contrast` the observation is
    larger than both or smaller than both. Cannot tell: there are too few blocks; or the predictions
    differ by less than `least`, or so little that the position has no bounds; or the interval fits
    none of these rules.

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
    """The verdicts of a ladder: on ‖∇E‖², λ_max and test accuracy at equal training loss.

    arm: one arm, or several arms with the same steps, whose blocks (such as other widths) are
    pooled. thresholds: the level and the confidence, by default the record's own. A verdict has the
    word of all rungs together, by `word_of`. The word is "cannot tell" without a record and where
    units are missing. It is also "cannot tell" where a single width disagrees: where that width
    lies on the other side of the middle, or, for the word "between", not between the predictions.

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
    """The word on which several arms, measures or rungs agree.

    Words "cannot tell" do not count.

    Source: chapter 10, *The edge of stability*.

    Example:
        >>> from igrlib.experiments.verdicts.ladder import agreed
        >>> agreed(["edge", "cannot tell", "edge"])
        'edge'
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
    """A measure of the models of all rungs, (block, rung); NaN where a rung lacks a model."""

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
    """Edge, batch sharpness and time of the models at the level: medians over blocks."""
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
    """h times the batch sharpness at the first measurement with a loss below a recorded level."""
    at = np.flatnonzero(np.isclose(table["level"], level))
    if "crossing_batch_sharpness" not in table or not len(at):
        return xr.full_like(time_at(table, level), np.nan)
    sharpness = table["crossing_batch_sharpness"].isel(level=int(at[0]))
    return sharpness.drop_vars("level") * table["learning_rate"]


def _lies_with(word: Hypothesis, position: float, limits: LadderThresholds) -> bool:
    """Whether the position of one width agrees with the word of all widths together."""
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
    """The indices of the treatments h_L, (h_s, μ) and (h_s, 0)."""
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
    # With several rungs, each block has the mean over its whole rungs.
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
