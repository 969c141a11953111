"""The strength of the regularizer by μ alone: by which law ‖∇E‖² at equal training loss falls.

With a strength s = h/4 + μ the modified flow is that of E + s‖∇E‖². To first order in s, along the
gradient flow of E, d log‖∇E‖²/ds at equal E is 2·gᵀH(φ − g·(gᵀφ)/‖g‖²)/‖g‖², where φ' = −Hφ − 2Hg
from φ = 0. On a quadratic φ = −2t·Hg, so that it is −4t·Var(λ), the variance of the eigenvalues of
H with the weights of g² along them: always a fall, and in proportion to s. Elsewhere φ takes the
Hessians along the path, which no record has. What is parameter-free without them is the *law*: the
logarithm falls in proportion to μ, as long as it falls by little.

Source: eqs. (2) and (8); chapter 10, *The edge of stability*.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from scipy import stats

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record
from igrlib.experiments.table import arms, explicit, missing_units, table_of
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.contrasts import Contrast, contrast
from igrlib.experiments.verdicts.equal_loss import lambda_max_at, log_at
from igrlib.experiments.verdicts.judgement import not_whole_reason
from igrlib.experiments.verdicts.predictions import edge_of
from igrlib.experiments.verdicts.ratios import Ratio, ratio_of_means
from igrlib.experiments.verdicts.rules import Reason, recorded_thresholds

__all__ = ["Law", "Strength", "StrengthThresholds", "judge_strength", "law_of"]

Law: TypeAlias = Literal["in proportion", "another law", "no effect", "cannot tell"]
"""How the effect depends on μ."""


@dataclass(frozen=True)
class StrengthThresholds:
    """The thresholds of a verdict on the law, besides the arm's level and confidence.

    Source: chapter 10, *The edge of stability*.
    """

    exponent: float = 0.15
    """An effect is in proportion where the interval of the exponent lies within 1 ± this."""
    most: float = 0.5
    """The largest effect on log ‖∇E‖² for which the first order is enough."""
    faintest: float = 0.01
    """The smallest effect on log ‖∇E‖² that counts. Interpolation hides smaller ones."""
    least: float = 5.0
    """The least size of the largest effect within first order, in per cent."""
    strengths: int = 3
    """The fewest μ > 0 within first order."""
    blocks: int = 4
    """The fewest blocks with all of these μ."""
    seeds: int = 4
    """The fewest different seeds for an interval."""
    edge: float = 0.5
    """The theorem applies up to this h·λ_max(1 + 2μλ_max)."""


@dataclass(frozen=True, eq=False)
class Strength:
    """A verdict on the law, with the effect of each μ.

    mu: all > 0, rising; effects: on ‖∇E‖² at equal training loss beside μ = 0, in per cent; within:
    which of them count, being neither too faint nor beyond first order; exponent: of |effect| as a
    power of μ over these; slope: of log ‖∇E‖² per unit of μ at the smallest of them; edge: the
    median of h·λ_max(1 + 2μλ_max) at the level, for μ = 0 and each of `mu`; largest_edge: the
    largest at any time of those that count and of μ = 0.
    """

    arm: str
    level: float
    word: Law
    reasons: tuple[Reason, ...] = ()
    learning_rate: float = float("nan")
    mu: np.ndarray | None = None
    effects: tuple[Contrast, ...] = ()
    within: np.ndarray | None = None
    exponent: Ratio | None = None
    slope: Ratio | None = None
    edge: np.ndarray | None = None
    largest_edge: float = float("nan")
    missing: tuple[str, ...] = ()
    thresholds: Thresholds | None = None


def law_of(
    exponent: Ratio | None, largest: Contrast, limits: StrengthThresholds
) -> tuple[Law, tuple[Reason, ...]]:
    """By which law: in proportion where the interval of the exponent is within 1 ± its threshold.

    Another law: an interval that leaves out 1. No effect: the largest strength makes no
    difference. Cannot tell: anything else, and fewer strengths or blocks than wanted.

    Source: chapter 10, *The edge of stability*.
    """
    if largest.observation == "the same":
        return "no effect", ()
    if exponent is None:
        return "cannot tell", (Reason("few strengths", (str(limits.strengths),)),)
    if exponent.blocks < limits.blocks or exponent.interval is None:
        return "cannot tell", (Reason("few whole blocks", (str(limits.blocks),)),)
    low, high = exponent.interval
    if 1 - limits.exponent <= low and high <= 1 + limits.exponent:
        return "in proportion", ()
    if low > 1 or high < 1:
        return "another law", ()
    return "cannot tell", (Reason("wide"),)


def judge_strength(
    record: Record | None,
    arm: str = "strength",
    *,
    thresholds: Thresholds | None = None,
    limits: StrengthThresholds | None = None,
) -> Strength:
    """The law by which ‖∇E‖² at equal training loss depends on μ at the smallest learning rate.

    thresholds: the level and the confidence, by default the record's own. The word follows the
    rules of `law_of`; it is "cannot tell" without a record and where units are missing. A largest
    edge on the way over its threshold adds a reason and leaves the word as it is.

    Source: eqs. (2) and (8); chapter 10, *The edge of stability*.
    """
    limits = limits or StrengthThresholds()
    level = (thresholds or Thresholds()).level
    if record is None:
        return Strength(arm, level, "cannot tell", (Reason("no record"),))
    if arm not in arms(record):
        return Strength(arm, level, "cannot tell", (Reason("no arm", (arm,)),))
    try:
        judged = thresholds or recorded_thresholds(record, arm)
        found = _judged(arm, explicit(table_of(record, arm)), judged, limits)
    except ValueError as error:
        return Strength(arm, level, "cannot tell", (Reason("not usable", (str(error),)),))
    lacking = not_whole_reason(record, arm)
    if lacking is not None:
        missing = missing_units(record, arm)
        return replace(found, word="cannot tell", reasons=(lacking,), missing=missing)
    return found


def _judged(
    arm: str, table: xr.Dataset, judged: Thresholds, limits: StrengthThresholds
) -> Strength:
    mu = table["mu"].values
    if mu[0] != 0 or len(mu) < 2:
        raise ValueError("table must have models with μ = 0 and with μ > 0 at its smallest h")
    value = log_at(table, "train_squared_gradient", judged.level).transpose("block", "treatment")
    none, others = value.isel(treatment=[0]), value.isel(treatment=slice(1, None))
    for_interval = replace(judged, seeds=limits.seeds)
    effects = tuple(
        contrast(
            others.isel(treatment=[k]),
            none,
            relative=True,
            least=limits.least,
            limits=for_interval,
        )
        for k in range(len(mu) - 1)
    )
    apart = others.values - none.values
    with np.errstate(invalid="ignore"):
        mean = np.array([_mean(column) for column in apart.T])
    # Those from the smallest on, up to the first that is beyond first order.
    within = np.logical_and.accumulate(np.abs(mean) <= limits.most)
    within &= np.abs(mean) >= limits.faintest
    exponent = slope = None
    largest = effects[-1]
    if within.any():
        first, last = np.flatnonzero(within)[[0, -1]]
        largest = effects[last]
        slope = ratio_of_means(
            apart[:, first], np.full(len(apart), mu[first + 1]), confidence=judged.confidence
        )
    if within.sum() >= limits.strengths:
        x = np.log(mu[1:][within])
        whole = np.isfinite(apart[:, within]).all(axis=1)
        exponent = _exponent(x, apart[whole][:, within], judged.confidence)
    word, reasons = law_of(exponent, largest, limits)
    largest_edge = _largest_edge(table.isel(treatment=[True, *within]))
    if not largest_edge <= limits.edge:
        reasons += (Reason("edge near"),)
    return Strength(
        arm,
        judged.level,
        word,
        reasons,
        float(table["learning_rate"].values[0]),
        mu[1:],
        effects,
        within,
        exponent,
        slope,
        edge_of(lambda_max_at(table, judged.level)).median("block").values,
        largest_edge,
        thresholds=judged,
    )


def _largest_edge(table: xr.Dataset) -> float:
    """The largest median of h·λ_max(1 + 2μλ_max) over all levels and steps with a measurement."""
    ways = [edge_of(lambda_max_at(table, one)) for one in table["level"].values.tolist()]
    if "lambda_max" in table:
        ways.append(edge_of(table["lambda_max"]))
    medians = np.concatenate([way.median("block").values.ravel() for way in ways] or [[]])
    known = medians[np.isfinite(medians)]
    return float(known.max()) if len(known) else np.nan


def _exponent(x: np.ndarray, apart: np.ndarray, confidence: float) -> Ratio:
    """The power of μ by which the mean effect goes, with the interval of the jackknife."""
    blocks = len(apart)
    if blocks < 2:
        return Ratio(np.nan, None, blocks)
    value = _power(x, apart.mean(axis=0))
    without = np.array([_power(x, np.delete(apart, b, axis=0).mean(axis=0)) for b in range(blocks)])
    reach = float(np.sqrt((blocks - 1) / blocks * np.sum((without - without.mean()) ** 2)))
    reach *= float(stats.t.ppf((1 + confidence) / 2, blocks - 1))
    interval = (value - reach, value + reach) if np.isfinite([value, reach]).all() else None
    return Ratio(value, interval, blocks)


def _power(x: np.ndarray, effect: np.ndarray) -> float:
    """The slope of log |effect| on x; NaN where effects differ in sign."""
    if len(np.unique(np.sign(effect))) > 1 or not effect.all():
        return np.nan
    return float(np.polyfit(x, np.log(np.abs(effect)), 1)[0])


def _mean(column: np.ndarray) -> float:
    known = column[np.isfinite(column)]
    return float(known.mean()) if len(known) else np.nan
