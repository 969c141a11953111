"""A recorded sweep as data for its explorer: every model's chosen points and curves.

Source: Section 6, Figure 2; chapter 7, *MNIST*.
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from explorers.page import Explorer
from igrlib.experiments import table as tables
from igrlib.experiments.records import Record
from igrlib.plots._tables import palette

__all__ = ["sweep_explorer"]

MOST_POINTS = 32
"""Of a curve; more could not be told apart."""

_SELECTIONS = ("validation", "test")
_CURVES = {
    "loss": ("gradient_step", "train_loss"),
    "squared_gradient": ("gradient_step", "train_squared_gradient"),
    "accuracy": ("score_step", "test_accuracy"),
}
_CHOSEN = {
    "step": "step",
    "loss": "train_loss",
    "squared_gradient": "train_squared_gradient",
    "accuracy": "test_accuracy",
}


def sweep_explorer(record: Record, arm: str, figure: str) -> Explorer:
    """The models of Figure 2, one by one: where each stands, and how it came there.

    Shows the models of `arm` that finished, did not diverge and had no explicit regularization:
    R_IG, ‖∇E‖², R_IG/E, training loss or test accuracy against λ = hm/4, at the point chosen on
    validation or on test images, in the colours of the chapter's figures. `figure` is the label of
    the still figure that a reader without scripts is sent to.

    Raises `ValueError` for an arm that was not recorded.

    Source: Section 6, Figure 2; chapter 7, *MNIST*.
    """
    table = tables.plain(tables.table_of(record, arm))
    rates = table["learning_rate"].values.tolist()
    shades = palette(record).learning_rates
    shown = (table["finished"] & ~table["diverged"]).values
    data = {
        "rates": rates,
        "colors": [to_hex(shades[h][:3]) for h in rates],
        "steps": {
            key: table[grid].values[_kept(table, grid)].tolist()
            for key, (grid, _) in _CURVES.items()
        },
        "models": [_model(table, i, j) for i, j in np.argwhere(shown).tolist()],
    }
    title = "The models of the sweep: point at one, press to keep it, and see how it came there"
    return Explorer("sweep", title, figure, data)


def _model(table: xr.Dataset, i: int, j: int) -> dict[str, Any]:
    one = table.isel(block=i, treatment=j)
    model: dict[str, Any] = {
        "width": int(one["width"]),
        "seed": int(one["seed"]),
        "rate": j,
        "m": int(one["num_params"]),
    }
    for selection in _SELECTIONS:
        there = one.sel(point=selection)
        values = {key: float(there[f"chosen_{name}"]) for key, name in _CHOSEN.items()}
        if values["step"] < 0:  # It was never chosen.
            values = dict.fromkeys(values, np.nan)
        model[selection] = {key: _rounded(value) for key, value in values.items()}
        model[selection]["censored"] = bool(one[f"censored_{selection}"])
    model["curves"] = {
        key: _curve(one[name].values[_kept(table, grid)]) for key, (grid, name) in _CURVES.items()
    }
    return model


def _kept(table: xr.Dataset, grid: str) -> np.ndarray:
    """Which of the steps of a grid are drawn, the first and the last among them."""
    count = table.sizes[grid]
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))


def _curve(values: np.ndarray) -> list[float | None]:
    """A value for each step, None where it was not measured, up to the last that was."""
    measured = np.flatnonzero(np.isfinite(values))
    shown = values[: measured[-1] + 1] if len(measured) else values[:0]
    return [_rounded(value, 3) for value in shown]


def _rounded(value: Any, digits: int = 4) -> float | None:
    """None for what was not measured: JSON has no NaN."""
    # A screen shows no more, and 95 models with all digits would weigh as much as a chapter.
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None
