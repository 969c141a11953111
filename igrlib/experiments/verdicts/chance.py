"""How λ and R_IG go together over a grid of rates and widths, beside what chance alone would give.

R_IG = ‖∇E‖²/m and λ = hm/4 have m in common, so that they are correlated even where ‖∇E‖² has
nothing to do with h or with the width: Figure 2a by itself is no evidence, and never a verdict.

Source: Figure 2a, eqs. (3) and (4); chapter 7, *MNIST*.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from igrlib._checks import check_integer
from igrlib.experiments.blocks import Blocks

__all__ = ["Correlation", "rate_with_regularizer"]


@dataclass(frozen=True, eq=False)
class Correlation:
    """Rank correlation of λ with R_IG: as recorded, and (draws,) with ‖∇E‖² dealt out by chance.

    rate, regularizer: λ and R_IG of the models, to be drawn.
    """

    correlation: float
    chance: np.ndarray
    rate: np.ndarray
    regularizer: np.ndarray


def rate_with_regularizer(
    table: Blocks,
    *,
    point: str = "test",
    draws: int = 1_000,
    seed: int = 0,
) -> Correlation:
    """Spearman's correlation of λ = hm/4 with R_IG over all models, and what chance gives.

    `point`: where R_IG was measured, in the paper at the best test accuracy. For each of `draws`
    the recorded ‖∇E‖² are dealt out anew over all models, so that they depend on neither h nor m.

    Raises `ValueError` for fewer than 3 models measured.

    Source: Figure 2a; chapter 7, *MNIST*.
    """
    check_integer("draws", draws, low=1)
    squared = table.chosen("train_squared_gradient", point)
    measured = np.isfinite(squared)
    if (models := int(measured.sum())) < 3:
        raise ValueError(f"table must have 3 models or more measured at {point!r}, got {models}")
    m = table.num_params[:, None]
    size = np.broadcast_to(m, measured.shape)[measured]
    rate = (table.learning_rate[None, :] * m / 4)[measured]
    squared = squared[measured]
    rng = np.random.default_rng(seed)
    chance = [_spearman(rate, rng.permutation(squared) / size) for _ in range(draws)]
    return Correlation(_spearman(rate, squared / size), np.array(chance), rate, squared / size)


def _spearman(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    found: Any = stats.spearmanr(one, other)
    return float(found.statistic)
