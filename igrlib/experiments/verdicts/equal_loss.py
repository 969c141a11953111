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

from igrlib.experiments._xarray import xr
from igrlib.experiments.schema import ALONG
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.trends import Trend, trend

__all__ = [
    "LevelCurve",
    "accuracy_at",
    "lambda_max_at",
    "lambda_max_loss",
    "log_at",
    "scaled_curvature_at",
    "squared_gradient_at",
    "time_at",
    "trend_of",
    "trend_over_levels",
    "trend_with_width",
]


def squared_gradient_at(
    loss: Float[np.ndarray, "*models g"],
    squared_gradient: Float[np.ndarray, "*models g"],
    level: float,
) -> Float[np.ndarray, "*models"]:
    """log ‖∇E‖² where training loss first falls below `level`, by measurements along the last axis.

    Measurements that are NaN are skipped. Between the two others around the crossing log ‖∇E‖² is
    taken as linear in log E. NaN where the loss never falls below, is below from the start, or
    either ‖∇E‖² is missing or 0.

    Source: chapter 7, *MNIST*: R_IG is compared at equal E.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _at_crossing(loss, np.log(squared_gradient), level)


def log_at(table: xr.Dataset, name: str, level: float) -> xr.DataArray:
    """The logarithm of a quantity as training loss first falls below `level`, linear in log E.

    `name`: of a quantity recorded along the way, one of `igrlib.experiments.schema.ALONG`. Returns
    (block, treatment), NaN as in `squared_gradient_at`, and where nothing was measured between the
    start and the crossing: over the first steps nothing is linear.

    Raises `ValueError` for another name, and for a level that is not positive and finite.

    Source: chapter 7, *MNIST*.
    """
    return _of_models(table, squared_gradient_at(*_along(table, name, level), level))


def accuracy_at(table: xr.Dataset, level: float, *, split: str = "test") -> xr.DataArray:
    """Accuracy in per cent as training loss first falls below `level`, linear in log E.

    `split`: "test", "validation" or "train". Training loss is measured at fewer steps than the
    accuracies are; of these the two at the steps around the crossing count. NaN and errors as of
    `log_at`.

    Source: Prediction 2.3; chapter 7, *MNIST*.
    """
    if split not in ("test", "validation", "train"):
        raise ValueError(f"split must be test, validation or train, got {split!r}")
    loss, accuracy = _along(table, f"{split}_accuracy", level)
    return _of_models(table, 100 * _at_crossing(loss, accuracy, level))


def time_at(table: xr.Dataset, level: float) -> xr.DataArray:
    """Physical time t = nh at which training loss first falls below `level`, log n linear in log E.

    NaN as in `log_at`. If runs of all h followed one flow up to terms of order h, it would be
    nearly the same for all of them.

    Raises `ValueError` for a level that is not positive and finite.

    Source: Section 2; chapter 7, *MNIST*.
    """
    loss, _ = _along(table, "train_loss", level)
    steps = np.log(np.maximum(table["gradient_step"].values, 1))
    number = np.exp(_at_crossing(loss, np.broadcast_to(steps, loss.shape), level))
    return _of_models(table, number) * table["learning_rate"]


def lambda_max_at(table: xr.Dataset, level: float) -> xr.DataArray:
    """λ_max as training loss first falls below `level`, one of the recorded levels; else NaN.

    λ_max was measured where the loss was first seen below each level. Between the measurement
    before the crossing and the one after it log λ_max is taken as linear in log E. Where there is
    none before, it is the one after: `lambda_max_loss` says at which loss.

    Source: not in the paper; chapter 7, *MNIST*.
    """
    return _of_models(table, _lambda_max(table, level)[0])


def lambda_max_loss(table: xr.Dataset, level: float) -> xr.DataArray:
    """The training loss at which `lambda_max_at` is: `level` where it was interpolated."""
    return _of_models(table, _lambda_max(table, level)[1])


def scaled_curvature_at(table: xr.Dataset, level: float) -> xr.DataArray:
    """h·λ_max as training loss falls below `level`, one of the recorded levels; else NaN.

    On a quadratic gradient descent of the full batch is stable up to 2. λ_max is an estimate from
    below by a few Lanczos products, of the whole training split; `lambda_max_loss` says at which
    loss it is.

    Source: chapter 7, *MNIST*.
    """
    return lambda_max_at(table, level) * table["learning_rate"]


def trend_of(quantity: xr.DataArray, *, relative: bool, limits: Thresholds | None = None) -> Trend:
    """The trend of a quantity with h within the blocks of a table, or with h + 4μ where μ differs.

    `quantity`: (block, treatment) with the coordinates of `igrlib.experiments.table.table_of`, NaN
    where not measured; `relative`: it is a natural logarithm; `limits`: what a block and an
    interval take, by default `Thresholds()`. Raises `ValueError` as `trend` does.

    Source: chapter 7, *MNIST*.
    """
    values = quantity.transpose("block", "treatment")
    return _trend(values["effective_rate"], values, values["seed"], relative, limits)


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
    table: xr.Dataset,
    quantity: Callable[[xr.Dataset, float], xr.DataArray],
    levels: Sequence[float],
    *,
    relative: bool,
    limits: Thresholds | None = None,
) -> LevelCurve:
    """The trend with h of what `quantity` gives of `table` at each of the training losses `levels`.

    `relative` and `limits` as of `trend_of`. Raises `ValueError` without levels, and as `trend`
    does.

    Source: Prediction 2.1; chapter 7, *MNIST*.
    """
    if not len(levels):
        raise ValueError("levels must be one training loss or more, got none")
    found = [trend_of(quantity(table, e), relative=relative, limits=limits) for e in levels]
    return LevelCurve(np.asarray(levels, float), tuple(found))


def trend_with_width(
    quantity: xr.DataArray, *, relative: bool, limits: Thresholds | None = None
) -> Trend:
    """The trend of a quantity with *width*: batch size, seed, h and μ being equal in a block.

    `quantity` and `limits` as of `trend_of`, the `rates` of `limits` being widths here. Effects are
    per doubling of width. Models of one seed share no more than the order of their batches, as
    their initial values differ in shape; blocks of one seed and different h share those values too,
    so that p is of blocks that are not independent. Raises `ValueError` as `trend` does.

    Source: Section 2, λ = hm/4; chapter 7, *MNIST*.
    """
    names = ["width", "batch_size", "seed"]
    bare = quantity.drop_vars([name for name in quantity.coords if name not in names])
    bare = bare.assign_coords(treatment=np.arange(bare.sizes["treatment"]))
    by_width = bare.set_index(block=names).unstack("block")
    rows = by_width.stack(row=("batch_size", "seed", "treatment")).transpose("row", "width")
    return _trend(rows["width"].astype(float), rows, rows["seed"], relative, limits)


def _trend(
    factor: xr.DataArray,
    quantity: xr.DataArray,
    seed: xr.DataArray,
    relative: bool,
    limits: Thresholds | None,
) -> Trend:
    limits = limits or Thresholds()
    return trend(
        factor.values,
        quantity.values,
        seed.values,
        relative=relative,
        rates=limits.rates,
        seeds=limits.seeds,
        confidence=limits.confidence,
    )


def _of_models(table: xr.Dataset, values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, table["finished"].coords, ("block", "treatment"))


def _along(table: xr.Dataset, name: str, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Training loss and the quantity `name`, (B, R, G), at the steps where the loss is measured."""
    if not (np.isfinite(level) and level > 0):
        raise ValueError(f"level must be a positive, finite training loss, got {level}")
    known = [name for names in ALONG.values() for name in names]
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(sorted(known))}, got {name!r}")
    values = table[name]
    if "score_step" in values.dims:
        values = values.rename(score_step="gradient_step")
        values = values.reindex(gradient_step=table["gradient_step"])
    loss = table["train_loss"].where(table["gradient_step"] > 0)
    return loss.values, values.values


def _at_crossing(
    loss: Float[np.ndarray, "*models g"], values: Float[np.ndarray, "*models g"], level: float
) -> Float[np.ndarray, "*models"]:
    """`values` where the loss first falls below `level`, linear in log E around the crossing."""
    if not loss.shape[-1]:
        return np.full(loss.shape[:-1], np.nan)
    # Where a model was not measured the loss is NaN, which is not below anything.
    below, steps = loss < level, np.arange(loss.shape[-1])
    after = np.argmax(below, axis=-1)[..., None]
    measured = np.where(np.isfinite(loss) & (steps < after), steps, -1)
    before = np.max(measured, axis=-1, initial=-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        (e0, e1), (v0, v1) = (
            [np.take_along_axis(a, np.maximum(at, 0), -1)[..., 0] for at in (before, after)]
            for a in (np.log(loss), values)
        )
        found = v0 + (v1 - v0) * (np.log(level) - e0) / (e1 - e0)
    return np.where((before[..., 0] >= 0) & np.isfinite(found), found, np.nan)


def _lambda_max(table: xr.Dataset, level: float) -> tuple[np.ndarray, np.ndarray]:
    """λ_max at a level, and the loss at which it was measured, (B, R)."""
    at = np.flatnonzero(np.isclose(table["level"], level))
    if not len(at):
        nothing = np.full(table["finished"].shape, np.nan)
        return nothing, nothing
    first = int(at[0])
    value, loss = _crossing(table, first)
    log = np.log(np.where(value > 0, value, np.nan))
    interpolated = np.zeros(log.shape, bool)
    for upper in reversed(range(first)):
        before, higher = _crossing(table, upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.log(higher / level) / np.log(higher / loss)
            between = log + (1 - share) * (np.log(before) - log)
        # Measured once for both levels, it was below both; interpolated, it is at the level.
        found = (higher >= level) & (loss < level) & np.isfinite(between)
        log, loss = np.where(found, between, log), np.where(found, level, loss)
        interpolated |= found
    value = np.where(interpolated, np.exp(log), value)
    return value, np.where(np.isfinite(value), loss, np.nan)


def _crossing(table: xr.Dataset, k: int) -> tuple[np.ndarray, np.ndarray]:
    """λ_max and the loss where that was first seen below the k-th level.

    Where it fell below several levels between two measurements λ_max was measured once, and is the
    same for all of these.
    """
    step, found = table["crossing_step"].values, table["crossing_lambda_max"].values
    curvature = found[:, :, k].copy()
    for lower in range(k + 1, found.shape[2]):
        same = np.isnan(curvature) & (step[:, :, lower] == step[:, :, k])
        curvature[same] = found[:, :, lower][same]
    here = table["gradient_step"].values == step[:, :, k, None]
    loss = np.where(here, table["train_loss"].values, 0.0).sum(axis=-1)
    return curvature, np.where(here.any(-1), loss, np.nan)
