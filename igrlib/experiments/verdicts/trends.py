"""The trend of a quantity with the learning rate within blocks: an exact test, and its size.

The test is Page's L, Σ over blocks of Σ rank(h)·rank(quantity), against all permutations of h
within the blocks. Ranks are small integers, so the null distribution is the convolution of those of
the blocks, exact for any number of blocks, ties and missing cells included.

Source: E. B. Page, "Ordered hypotheses for multiple treatments", JASA 58 (1963); chapter 7.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Real
from scipy import stats

from igrlib._checks import check_finite

__all__ = ["Trend", "exact_tails", "trend"]

_MOST_RATES = 12  # The null distribution of one block takes time and memory of order 2ⁿ.


class Tails(NamedTuple):
    """One-sided p-values: of a trend at least as far down, and up, as the one seen."""

    falling: float
    rising: float


@dataclass(frozen=True, eq=False)
class Trend:
    """How a quantity changes with h, within each block and over all blocks.

    effects: per doubling of h, one for each block used, from least squares on log₂ h; in per cent
    where `relative`, else in the quantity's own unit; effect: their mean (of logarithms where
    `relative`), NaN without a block; interval: of the effect, or None; seed: of each block
    used; cells: the number of cells in all these blocks.
    """

    effect: float
    interval: tuple[float, float] | None
    p: Tails
    effects: np.ndarray
    seed: np.ndarray
    cells: int
    relative: bool

    @property
    def blocks(self) -> int:
        """The number of blocks used."""
        return len(self.effects)


def trend(
    learning_rate: Float[np.ndarray, " r"],
    quantity: Float[np.ndarray, "b r"],
    seed: Integer[np.ndarray, " b"],
    *,
    relative: bool,
    rates: int,
    seeds: int,
    confidence: float,
) -> Trend:
    """The trend of `quantity` with h within blocks, one a row, NaN where nothing was measured.

    seed: of each block; relative: whether the quantity is a natural logarithm. A block counts if it
    has at least `rates` cells. Blocks with at least `seeds` different seeds give Student's interval
    of `confidence` over blocks.

    Raises `ValueError` for learning rates that are not positive, finite and distinct, or over 12 of
    them, for shapes that do not fit, and for a `confidence` that is not above 0 and at most 1.

    Source: chapter 7, *MNIST*.

    Example:
        >>> import numpy as np
        >>> from igrlib.experiments.verdicts import trends
        >>> h, seed = np.array([0.1, 0.2, 0.4]), np.array([0, 1])
        >>> loss = np.array([[8.0, 4.0, 2.0], [9.0, 4.0, 1.5]])  # a row a seed
        >>> kept = dict(relative=True, rates=3, seeds=2, confidence=0.95)
        >>> found = trends.trend(h, np.log(loss), seed, **kept)
        >>> round(found.effect, 1), round(found.p.falling, 4)  # by chance 1/6²
        (-54.8, 0.0278)
    """
    one_dimensional = learning_rate.ndim == seed.ndim == 1
    if not one_dimensional or quantity.shape != seed.shape + learning_rate.shape:
        raise ValueError(
            "quantity must have a row for each seed and a column for each learning_rate, "
            f"got shape {quantity.shape} for {seed.shape} and {learning_rate.shape}"
        )
    sound = np.isfinite(learning_rate) & (learning_rate > 0)
    if not sound.all() or len(np.unique(learning_rate)) != len(learning_rate):
        raise ValueError(f"learning_rate must be positive and distinct, got {learning_rate}")
    check_finite("confidence", confidence)
    if not 0 < confidence <= 1:
        raise ValueError(f"confidence must be above 0 and at most 1, got {confidence}")
    measured = np.isfinite(quantity)
    used = measured.sum(axis=1) >= rates
    x = np.log2(learning_rate)
    slopes = np.array(
        [_slope(x[has], row[has]) for row, has in zip(quantity[used], measured[used], strict=True)]
    )
    rows = [
        row[has][np.argsort(x[has])]
        for row, has in zip(quantity[used], measured[used], strict=True)
    ]
    mean, interval = math.nan, None
    if len(slopes):
        mean = float(slopes.mean())
    if len(np.unique(seed[used])) >= max(seeds, 2):
        reach = float(stats.t.ppf((1 + confidence) / 2, len(slopes) - 1))
        reach *= float(slopes.std(ddof=1)) / math.sqrt(len(slopes))
        interval = (_per_doubling(mean - reach, relative), _per_doubling(mean + reach, relative))
    return Trend(
        effect=_per_doubling(mean, relative),
        interval=interval,
        p=exact_tails(rows),
        effects=np.array([_per_doubling(slope, relative) for slope in slopes]),
        seed=seed[used],
        cells=int(measured[used].sum()),
        relative=relative,
    )


def exact_tails(rows: Sequence[Float[np.ndarray, " _"]]) -> Tails:
    """Both p-values for blocks whose quantities stand in the order of rising h; 1 without a block.

    Blocks can differ in length. Equal quantities share their mean rank, and the distribution takes
    the ties as given. Raises `ValueError` for a block of more than 12 or with a NaN.

    Source: Page (1963), with the exact distribution in place of the normal one; chapter 7.
    """
    for row in rows:
        if np.isnan(row).any():
            raise ValueError(f"rows must be without NaN, which has no rank, got {row}")
    ranks = [_doubled_ranks(row) for row in rows]
    seen = sum(place * r for row in ranks for place, r in enumerate(row, 1))
    chance = _null(tuple(sorted(tuple(sorted(row)) for row in ranks)))
    # Sums of positive numbers only: tails far below the machine precision keep their digits.
    falling, rising = float(chance[: seen + 1].sum()), float(chance[seen:].sum())
    return Tails(min(falling, 1.0), min(rising, 1.0))


def _doubled_ranks(values: Real[np.ndarray, " n"]) -> tuple[int, ...]:
    """Twice the ranks: integers, also where equal values share their mean rank."""
    # The places of k equal values that have j below them are j + 1 to j + k.
    below = (values[:, None] > values[None]).sum(axis=1)
    equal = (values[:, None] == values[None]).sum(axis=1)
    return tuple((2 * below + equal + 1).tolist())


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))


def _per_doubling(slope: float, relative: bool) -> float:
    """A slope on log₂ h as a change with each doubling: in per cent where of a logarithm."""
    with np.errstate(over="ignore"):
        return 100 * float(np.expm1(slope)) if relative else slope


@functools.lru_cache(maxsize=256)
def _null(blocks: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """The probability of each value of L, from 0 on, over all permutations within all blocks."""
    total = np.ones(1)
    for block in blocks:
        total = np.convolve(total, _null_of_block(block))
    return total


@functools.cache
def _null_of_block(ranks: tuple[int, ...]) -> np.ndarray:
    """The same for one block, by dynamic programming over the set of ranks already placed."""
    n = len(ranks)
    if n > _MOST_RATES:
        raise ValueError(f"a block must have at most {_MOST_RATES} learning rates, got {n}")
    largest = sum(place * rank for place, rank in enumerate(sorted(ranks), 1))
    ways = np.zeros((2**n, largest + 1))
    ways[0, 0] = 1
    for placed in range(2**n):
        place = placed.bit_count() + 1
        for k, rank in enumerate(ranks):
            if not placed >> k & 1:
                more = place * rank
                ways[placed | 1 << k, more:] += ways[placed, : largest + 1 - more]
    return ways[-1] / math.factorial(n)
