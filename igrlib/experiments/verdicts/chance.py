"""The correlation of λ and R_IG over a grid of rates and widths, compared with chance alone.

R_IG = ‖∇E‖²/m and λ = hm/4 have m in common. So they are correlated even if ‖∇E‖² depends on
neither h nor the width: Figure 2a by itself is no evidence, and never a verdict.

Source: Figure 2a, eqs. (3) and (4); chapter 7, *MNIST*.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from igrlib._checks import check_integer
from igrlib.experiments._xarray import xr

__all__ = ["Correlation", "rate_with_regularizer"]


@dataclass(frozen=True, eq=False)
class Correlation:
    """Rank correlation of λ with R_IG: as recorded, and (draws,) with ‖∇E‖² shuffled.

    regularization_rate, regularizer: λ and R_IG of the models, to be drawn.
    """

    correlation: float
    chance: np.ndarray
    regularization_rate: np.ndarray
    regularizer: np.ndarray


def rate_with_regularizer(
    table: xr.Dataset,
    *,
    point: str = "test",
    draws: int = 1_000,
    seed: int = 0,
) -> Correlation:
    """Spearman's correlation of λ = hm/4 with R_IG over all models, recorded and by chance.

    `point`: where R_IG was measured, in the paper at the best test accuracy. For each of `draws`
    the recorded ‖∇E‖² are shuffled over all models, so that they depend on neither h nor m.

    Raises `ValueError` for fewer than 3 models measured.

    Source: Figure 2a; chapter 7, *MNIST*.
    """
    check_integer("draws", draws, low=1)
    chosen = table["chosen_train_squared_gradient"].sel(point=point)
    models = chosen.stack(model=("block", "treatment")).dropna("model")
    if models.size < 3:
        raise ValueError(
            f"table must have 3 models or more measured at {point!r}, got {models.size}"
        )
    m, squared = models["num_params"].values, models.values
    regularization_rate, regularizer = models["learning_rate"].values * m / 4, squared / m
    rng = np.random.default_rng(seed)
    chance = [_spearman(regularization_rate, rng.permutation(squared) / m) for _ in range(draws)]
    return Correlation(
        _spearman(regularization_rate, regularizer),
        np.array(chance),
        regularization_rate,
        regularizer,
    )


def _spearman(one: Float[np.ndarray, " n"], other: Float[np.ndarray, " n"]) -> float:
    found: Any = stats.spearmanr(one, other)
    return float(found.statistic)
