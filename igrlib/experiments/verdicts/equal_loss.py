"""What a record says where training losses are equal: along the loss, and across rates and widths.

Two runs of unequal h that have come equally far down differ in other things than the loss: in the
physical time that they took, and in h·λ_max. So these are read off at the same losses as ‖∇E‖² and
the accuracies are. Everything here describes; the verdicts are in `judgement`.

Source: Prediction 2.1; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from igrlib.experiments.blocks import Blocks, squared_gradient_at
from igrlib.experiments.schema import ALONG
from igrlib.experiments.verdicts.rules import Thresholds
from igrlib.experiments.verdicts.trends import Trend, trend

__all__ = [
    "LevelCurve",
    "accuracy_at",
    "log_at",
    "scaled_curvature_at",
    "time_at",
    "trend_over_levels",
    "trend_with_width",
]


def log_at(table: Blocks, name: str, level: float) -> Float[np.ndarray, "b r"]:
    """The logarithm of a quantity as training loss first falls below `level`, linear in log E.

    `name`: of a recorded quantity measured along the way, as in `igrlib.experiments.schema.ALONG`;
    NaN as in `squared_gradient_at`, and everywhere where the record has no such quantity.

    Raises `ValueError` for another name, and for a level that is not positive and finite.

    Source: chapter 7, *MNIST*.
    """
    return squared_gradient_at(*_along(table, name, level), level)


def accuracy_at(table: Blocks, level: float, *, split: str = "test") -> Float[np.ndarray, "b r"]:
    """Accuracy in per cent as training loss first falls below `level`, linear in log E.

    `split`: "test", "validation" or "train". Training loss is measured at fewer steps than the
    accuracies are; of these the two at the steps around the crossing count. NaN and errors as of
    `log_at`.

    Source: Prediction 2.3; chapter 7, *MNIST*.
    """
    if split not in ("test", "validation", "train"):
        raise ValueError(f"split must be test, validation or train, got {split!r}")
    loss, accuracy = _along(table, f"{split}_accuracy", level)
    # What is interpolated is a logarithm: of e^accuracy it is the accuracy.
    return 100 * squared_gradient_at(loss, np.exp(accuracy), level)


def time_at(table: Blocks, level: float) -> Float[np.ndarray, "b r"]:
    """Physical time t = nh at which training loss first falls below `level`, log n linear in log E.

    NaN where it never does, or does so before the first measurement after the start. If runs of all
    h followed one flow up to terms of order h, it would be nearly the same for all of them.

    Raises `ValueError` for a level that is not positive and finite.

    Source: Section 2; chapter 7, *MNIST*.
    """
    _along(table, "train_loss", level)  # Refuses a level that is none.
    return table.time_at(level)


def scaled_curvature_at(table: Blocks, level: float) -> Float[np.ndarray, "b r"]:
    """h·λ_max as training loss falls below `level`, one of the recorded levels; else NaN.

    On a quadratic gradient descent of the full batch is stable up to 2. λ_max is an estimate from
    below by a few Lanczos products, of the whole training split; `Blocks.lambda_max_loss` says at
    which loss it is.

    Source: chapter 7, *MNIST*.
    """
    return table.learning_rate * table.lambda_max_at(level)


@dataclass(frozen=True, eq=False)
class LevelCurve:
    """The trend of a quantity with h at each of `levels`, training losses: one `Trend` for each.

    As the loss falls fewer models come there, so that the blocks are not the same ones throughout.
    """

    levels: Float[np.ndarray, " l"]
    trends: tuple[Trend, ...]

    @property
    def effect(self) -> Float[np.ndarray, " l"]:
        """Per doubling of h, in per cent or in the quantity's own unit; NaN without a block."""
        return np.array([part.effect for part in self.trends])

    @property
    def band(self) -> Float[np.ndarray, "l 2"]:
        """The interval at each level, NaN where none is claimed.

        Each is for its own level, and neighbouring levels share their models: the band does not
        hold for all levels at once.
        """
        nothing = (np.nan, np.nan)
        return np.array([part.interval or nothing for part in self.trends]).reshape(-1, 2)

    @property
    def blocks(self) -> np.ndarray:
        """(l,) how many blocks there are at each level."""
        return np.array([part.blocks for part in self.trends])


def trend_over_levels(
    table: Blocks,
    quantity: Callable[[Blocks, float], Float[np.ndarray, "b r"]],
    levels: Sequence[float],
    *,
    relative: bool,
    limits: Thresholds | None = None,
) -> LevelCurve:
    """The trend with h of what `quantity` gives of `table` at each of the training losses `levels`.

    `relative`: the quantity is a natural logarithm; `limits`: what a block and an interval take, by
    default `Thresholds()`. h is the effective rate h + 4μ where models differ in μ.

    Raises `ValueError` without levels, and as `trend` does.

    Source: Prediction 2.1; chapter 7, *MNIST*.
    """
    if not len(levels):
        raise ValueError("levels must be one training loss or more, got none")
    found = tuple(
        _trend(table.effective_rate, quantity(table, level), table.seed, relative, limits)
        for level in levels
    )
    return LevelCurve(np.asarray(levels, float), found)


def trend_with_width(
    table: Blocks,
    quantity: Float[np.ndarray, "b r"],
    *,
    relative: bool,
    limits: Thresholds | None = None,
) -> Trend:
    """The trend of a quantity with *width*: batch size, seed, h and μ being equal in a block.

    `quantity`: of each model of `table`, NaN where not measured; `limits` as of
    `trend_over_levels`, its `rates` being widths here. Effects are per doubling of width. Models of
    one seed share no more than the order of their batches, as their initial values differ in shape;
    blocks of one seed and different h share those values too, so that p is of blocks that are not
    independent.

    Raises `ValueError` for a quantity that does not fit the table, and as `trend` does.

    Source: Section 2, λ = hm/4; chapter 7, *MNIST*.
    """
    if quantity.shape != table.finished.shape:
        raise ValueError(
            "quantity must have a value for each model of table, "
            f"shape {table.finished.shape}, got shape {quantity.shape}"
        )
    widths = np.unique(table.width)
    keys = list(zip(table.batch_size.tolist(), table.seed.tolist(), strict=True))
    rows = sorted(set(keys))
    by_width = np.full((len(rows), len(table.learning_rate), len(widths)), np.nan)
    for values, key, width in zip(quantity, keys, table.width, strict=True):
        by_width[rows.index(key), :, np.searchsorted(widths, width)] = values
    seeds = np.repeat([seed for _, seed in rows], len(table.learning_rate))
    columns = by_width.reshape(-1, len(widths))
    return _trend(widths.astype(float), columns, seeds, relative, limits)


def _trend(
    factor: np.ndarray,
    quantity: np.ndarray,
    seed: np.ndarray,
    relative: bool,
    limits: Thresholds | None,
) -> Trend:
    limits = limits or Thresholds()
    return trend(
        factor,
        quantity,
        seed,
        relative=relative,
        rates=limits.rates,
        seeds=limits.seeds,
        confidence=limits.confidence,
    )


def _along(table: Blocks, name: str, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Training loss and the quantity `name`, (B, R, G), at the steps where the loss is measured."""
    if not (np.isfinite(level) and level > 0):
        raise ValueError(f"level must be a positive, finite training loss, got {level}")
    grid = next((grid for grid, names in ALONG.items() if name in names), None)
    if grid is None:
        known = ", ".join(sorted(name for names in ALONG.values() for name in names))
        raise ValueError(f"name must be one of {known}, got {name!r}")
    if "train_loss" not in table.values or name not in table.values:
        nothing = np.full((*table.finished.shape, 1), np.nan)
        return nothing, nothing
    loss, values = table.value("train_loss"), table.value(name)
    if grid == "gradient_step":
        return loss, values
    steps, scored = table.shared["gradient_step"], table.shared[grid]
    at = np.minimum(np.searchsorted(scored, steps), len(scored) - 1)
    return loss, np.where(scored[at] == steps, values[..., at], np.nan)
