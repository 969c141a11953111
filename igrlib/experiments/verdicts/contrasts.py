"""How much a quantity differs between two ways to train, within blocks and at equal rates.

Models of a block share initial values and batches also across the arms of a record: momentum is
compared with plain descent at the same effective rate, or either with a penalty.

Source: not in the paper; chapter 11, *Other optimizers*.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.trends import Trend, trend

__all__ = ["LEAST", "Contrast", "Difference", "contrast"]

LEAST = {"squared_gradient": 20.0, "lambda_max": 20.0, "accuracy": 0.1}
"""The smallest difference that matters, in per cent of the first two and in points of accuracy.

What is to be told apart at β = 0.9 is a regularizer 19 times as strong from one that is twice as
strong, or as strong: four doublings from one or none. Of batches on MNIST chapter 7 has a fall of
‖∇E‖² by some 20 % with each.
"""

Difference: TypeAlias = Literal["larger", "smaller", "the same", "cannot tell"]


_BLOCK = ("width", "batch_size", "seed")


class Contrast(NamedTuple):
    """The difference of one way from another, and what was observed of it.

    `difference.effect` is in per cent of a logarithm, else in the unit of the quantity, with the
    interval over blocks; `difference.p` is of an exact sign test over blocks.
    """

    difference: Trend
    observation: Difference


def contrast(
    one: xr.DataArray,
    other: xr.DataArray,
    *,
    relative: bool,
    least: float,
    limits: Thresholds | None = None,
) -> Contrast:
    """How far `one` is from `other` in the blocks that both have.

    Both are (block, treatment) as `log_at` gives them, with as many treatments, which are paired in
    the order in which they stand; a block has the mean over the pairs that are measured on both
    sides. `relative`: they are natural logarithms; `least`: the smallest difference that matters.

    Larger, smaller: p under the significance of `limits` and a difference of `least` or more. The
    same: an interval inside of ±`least`. Cannot tell: anything else. Raises `ValueError` where the
    treatments are not equally many, or no block is in both.

    Source: chapter 11, *Other optimizers*.
    """
    limits = limits or Thresholds()
    sizes = [side.sizes["treatment"] for side in (one, other)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"one and other must have equally many treatments, which are paired, got {sizes}"
        )
    rows, seeds = [], []
    first, second = (_by_block(side) for side in (one, other))
    for block in filter(second.__contains__, first):
        apart = first[block] - second[block]
        known = np.isfinite(apart)
        rows.append(apart[known].mean() if known.any() else np.nan)
        seeds.append(block[-1])
    if not rows:
        raise ValueError("one and other must have blocks in common, got none")
    found = trend(
        np.array([1.0, 2.0]),  # One doubling, so that the effect is the difference.
        np.stack([np.zeros(len(rows)), rows], axis=-1),
        np.array(seeds),
        relative=relative,
        rates=2,
        seeds=limits.seeds,
        confidence=limits.confidence,
    )
    return Contrast(found, _observed(found, least, limits.significance))


def _by_block(side: xr.DataArray) -> dict[tuple[int, int, int], np.ndarray]:
    """The values of each width, batch size and seed. (Aligning them by xarray takes seconds.)"""
    keys = zip(*(side[name].values.tolist() for name in _BLOCK), strict=True)
    return dict(zip(keys, side.transpose("block", "treatment").values, strict=True))


def _observed(found: Trend, least: float, significance: float) -> Difference:
    if found.p.rising < significance and found.effect >= least:
        return "larger"
    if found.p.falling < significance and found.effect <= -least:
        return "smaller"
    if found.interval is not None and max(map(abs, found.interval)) < least:
        return "the same"
    return "cannot tell"
