"""A record's models of one arm as a table: a row for each block, a column for each learning rate.

A block is a width, batch size and seed. Its models share initial values and, step by step, their
batches, so that within a block nothing but h differs.

Source: Section 6; chapter 7, *MNIST*.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from igrlib.experiments.sweep import POINTS
from igrlib.records import Record, Unit

__all__ = ["Blocks", "area_under", "arms", "blocks", "missing_units", "squared_gradient_at"]

SHARED = ("score_step", "gradient_step", "level", "noise_sigma", "slope_sigma", "score_done")
"""Arrays that all models of a unit have in common."""

MARKS = ("censored_validation", "censored_test", "fitted")


@dataclass(frozen=True, eq=False)
class Blocks:
    """The models of one arm by block and learning rate.

    width, batch_size, seed: (B,); learning_rate: (R,), rising; finished: (B, R), whether there is
    such a model; marks: name to (B, R), "diverged" among them; values: name to (B, R, …), NaN where
    nothing was measured or the model diverged; shared: what all models have in common; points:
    where the models were looked at most closely.
    """

    arm: str
    width: np.ndarray
    batch_size: np.ndarray
    seed: np.ndarray
    learning_rate: np.ndarray
    finished: np.ndarray
    marks: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]
    points: tuple[str, ...]

    def value(self, name: str) -> np.ndarray:
        """(B, R, …), all NaN where the record has no such measurement."""
        return self.values.get(name, np.full(self.finished.shape, np.nan))

    def chosen(self, name: str, point: str) -> np.ndarray:
        """(B, R, …) of `chosen_<name>` at one of `POINTS`; NaN where not measured."""
        if f"chosen_{name}" not in self.values:
            return np.full(self.finished.shape, np.nan)
        return self.values[f"chosen_{name}"][:, :, POINTS.index(point)]

    def log_squared_gradient(self, level: float) -> Float[np.ndarray, "b r"]:
        """log ‖∇E‖² as training loss first falls below `level`; see `squared_gradient_at`."""
        loss, squared = self.values.get("train_loss"), self.values.get("train_squared_gradient")
        if loss is None or squared is None:
            return np.full(self.finished.shape, np.nan)
        return squared_gradient_at(loss, squared, level)

    def lambda_max_at(self, level: float) -> Float[np.ndarray, "b r"]:
        """λ_max at the first measurement below `level`, one of the recorded levels; else NaN.

        Where training loss fell below several levels between two measurements it was measured once,
        and is the same for all of these.
        """
        at = np.flatnonzero(np.isclose(self.shared.get("level", np.zeros(0)), level))
        if not len(at) or "crossing_lambda_max" not in self.values:
            return np.full(self.finished.shape, np.nan)
        first, found = int(at[0]), self.values["crossing_lambda_max"]
        step, curvature = self.values["crossing_step"], found[:, :, first].copy()
        for lower in range(first + 1, found.shape[2]):
            same = np.isnan(curvature) & (step[:, :, lower] == step[:, :, first])
            curvature[same] = found[:, :, lower][same]
        return curvature


def arms(record: Record) -> list[str]:
    """The names of the arms of which units are recorded."""
    return sorted({_arm(unit) for unit in record.units.values()})


def blocks(record: Record, arm: str) -> Blocks:
    """The finished units of `arm` as one table.

    Raises `ValueError` where the record has none, or where two of them hold the same model or were
    measured in different ways.

    Source: chapter 7, *MNIST*.
    """
    units = [unit for _, unit in sorted(record.units.items()) if _arm(unit) == arm]
    if not units:
        raise ValueError(f"arm must be one of {arms(record)}, which are recorded, got {arm!r}")
    keys = sorted({(*block, s) for u in units for block in [_block(u)] for s in _seeds(u)})
    rates = np.unique(np.concatenate([unit.arrays["learning_rate"] for unit in units]))
    shape = (len(keys), len(rates))
    finished, values = np.zeros(shape, bool), {}
    marks = {name: np.zeros(shape, bool) for name in ("diverged", *MARKS)}
    shared = {name: units[0].arrays[name] for name in SHARED if name in units[0].arrays}
    for unit in units:
        rows = [keys.index((*_block(unit), seed)) for seed in unit.arrays["seed"].tolist()]
        cells = (np.array(rows), np.searchsorted(rates, unit.arrays["learning_rate"]))
        if finished[cells].any() or np.unique(cells, axis=1).shape[1] < len(rows):
            raise ValueError(
                f"unit {unit.name} holds a model that the record of {arm!r} has already"
            )
        finished[cells] = True
        marks["diverged"][cells] = unit.arrays["diverged"] >= 0
        for name in MARKS:
            members = np.asarray(unit.meta["marks"].get(name, []), int)
            marks[name][cells[0][members], cells[1][members]] = True
        for name, array in _of_models(unit):
            filled = np.full((*shape, *array.shape[1:]), np.nan)
            table = values.setdefault(name, filled)
            if table.shape != filled.shape:
                raise ValueError(f"{name} of unit {unit.name} is not shaped as in the other units")
            table[cells] = array
        for name, array in shared.items():
            if not np.array_equal(array, unit.arrays.get(name, np.zeros(0))):
                raise ValueError(f"{name} of unit {unit.name} is not that of the other units")
    for table in values.values():
        table[marks["diverged"]] = np.nan
    width, batch_size, seed = (np.array(column) for column in zip(*keys, strict=True))
    points = tuple(units[0].meta["unit_config"].get("points", POINTS[:1]))
    return Blocks(arm, width, batch_size, seed, rates, finished, marks, values, shared, points)


def missing_units(record: Record, arm: str) -> tuple[str, ...]:
    """The units of `arm` that the record's manifest expects and that are not there.

    A manifest that expects nothing in particular misses nothing.
    """
    try:
        expected = json.loads((record.directory / "manifest.json").read_bytes())["expected"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    # A unit is named <arm>-n<width>-b<batch size>-s<seeds>.
    ours = {name for name in expected or () if name.rsplit("-n", 1)[0] == arm}
    return tuple(sorted(ours - set(record.units)))


def squared_gradient_at(
    loss: Float[np.ndarray, "*models g"],
    squared_gradient: Float[np.ndarray, "*models g"],
    level: float,
) -> Float[np.ndarray, "*models"]:
    """log ‖∇E‖² where training loss first falls below `level`, by measurements along the last axis.

    Between the two measurements around the crossing log ‖∇E‖² is taken as linear in log E. NaN
    where the loss never falls below, is below from the start, or either measurement is missing or
    0.

    Source: chapter 7, *MNIST*: R_IG is compared at equal E.
    """
    below = loss < level
    after = np.argmax(below, axis=-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        (e0, e1), (g0, g1) = (
            [
                np.log(np.take_along_axis(a, at, -1)[..., 0])
                for at in (np.maximum(after - 1, 0), after)
            ]
            for a in (loss, squared_gradient)
        )
        found = g0 + (g1 - g0) * (np.log(level) - e0) / (e1 - e0)
    # Where nothing is crossed both are the first measurement, and this is 0/0.
    return np.where(np.isfinite(found), found, np.nan)


def area_under(
    accuracy: Float[np.ndarray, "*models k"], sigma: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "*models"]:
    """The area under accuracy against noise, by trapezoids, over the range of σ: a mean accuracy.

    Source: Figure 3b; chapter 7, *MNIST*.
    """
    return np.trapezoid(accuracy, sigma, axis=-1) / (sigma[-1] - sigma[0])


def _arm(unit: Unit) -> str:
    return str(unit.meta["unit_config"].get("name"))


def _block(unit: Unit) -> tuple[int, int]:
    config = unit.meta["unit_config"]
    return int(config["width"]), int(config["batch_size"])


def _seeds(unit: Unit) -> list[int]:
    return unit.arrays["seed"].tolist()


def _of_models(unit: Unit) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays with a row for each model, as floating-point numbers."""
    for name, array in unit.arrays.items():
        if name not in SHARED and name not in ("learning_rate", "seed", "diverged"):
            yield name, np.asarray(array, np.float64)
