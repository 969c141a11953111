"""Ratios over blocks with their intervals: of two means, and the slope of pooled least squares.

A ratio within a block is worth nothing where its denominator is near 0; the ratio of the means is
steady, and Fieller's interval says where the denominator is too uncertain for one.

Source: E. C. Fieller, "Some problems in interval estimation", JRSS B 16 (1954); chapter 10, *The
edge of stability*.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

__all__ = ["Ratio", "pooled_slope", "ratio_of_means"]


class Ratio(NamedTuple):
    """A ratio over blocks; `interval` is None where it has no bounds."""

    value: float
    interval: tuple[float, float] | None
    blocks: int


def ratio_of_means(
    above: Float[np.ndarray, " b"], below: Float[np.ndarray, " b"], *, confidence: float
) -> Ratio:
    """mean(above)/mean(below) over blocks, with Fieller's interval of `confidence`.

    Blocks with a NaN do not count. There is no interval with fewer than two blocks, or where
    Student's interval for the mean of `below` holds 0.

    Source: Fieller (1954); chapter 10, *The edge of stability*.
    """
    both = np.isfinite(above) & np.isfinite(below)
    y, x = above[both], below[both]
    blocks = len(x)
    if not blocks or x.mean() == 0:
        return Ratio(math.nan, None, blocks)
    value = float(y.mean() / x.mean())
    if blocks < 2:
        return Ratio(value, None, blocks)
    # All q for which 0 is in Student's interval of mean(above − q·below): a quadratic in q.
    reach = float(stats.t.ppf((1 + confidence) / 2, blocks - 1)) ** 2 / blocks
    cov = np.cov(y, x)
    a = x.mean() ** 2 - reach * cov[1, 1]
    b = x.mean() * y.mean() - reach * cov[0, 1]
    c = y.mean() ** 2 - reach * cov[0, 0]
    if a <= 0:
        return Ratio(value, None, blocks)
    half = math.sqrt(max(b**2 - a * c, 0.0))
    return Ratio(value, (float((b - half) / a), float((b + half) / a)), blocks)


def pooled_slope(
    products: Float[np.ndarray, " b"], squares: Float[np.ndarray, " b"], *, confidence: float
) -> Ratio:
    """The slope of y on x within blocks, pooled, with Student's interval over blocks.

    products: Σ(x − x̄)(y − ȳ) of each block, squares: Σ(x − x̄)²; blocks with a NaN do not count. The
    interval comes from the residuals of the blocks, given the x; it needs two blocks or more.

    Source: chapter 10, *The edge of stability*.
    """
    both = np.isfinite(products) & np.isfinite(squares)
    xy, xx = products[both], squares[both]
    blocks = len(xx)
    if not blocks or xx.sum() <= 0:
        return Ratio(math.nan, None, blocks)
    slope = float(xy.sum() / xx.sum())
    if blocks < 2:
        return Ratio(slope, None, blocks)
    reach = float(stats.t.ppf((1 + confidence) / 2, blocks - 1))
    reach *= float((xy - slope * xx).std(ddof=1)) / (math.sqrt(blocks) * float(xx.mean()))
    return Ratio(slope, (slope - reach, slope + reach), blocks)
