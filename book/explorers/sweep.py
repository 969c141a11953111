"""A recorded sweep as data for its explorer: every model's chosen points and curves.

Source: Section 6, Figure 2; chapter 7, *MNIST*.
"""

from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from explorers.page import Explorer
from igrlib.experiments.blocks import Blocks, blocks
from igrlib.experiments.records import Record
from igrlib.plots._tables import palette

__all__ = ["sweep_explorer"]

MOST_POINTS = 40
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
    table = table_of(record, arm).plain()
    rates = [float(h) for h in table.learning_rate]
    shades = palette(record).rates
    data = {
        "rates": rates,
        "colors": [to_hex(shades[h][:3]) for h in rates],
        "steps": {
            key: _steps(table, grid)[_kept(table, grid)].tolist()
            for key, (grid, _) in _CURVES.items()
        },
        "models": [_model(table, i, j) for i, j in np.argwhere(_shown(table)).tolist()],
    }
    title = "The models of the sweep: point at one, press to keep it, and see how it came there"
    return Explorer("sweep", title, figure, data)


def _shown(table: Blocks) -> np.ndarray:
    return table.finished & ~table["diverged"].values


def _model(table: Blocks, i: int, j: int) -> dict[str, Any]:
    model: dict[str, Any] = {
        "width": int(table.width[i]),
        "seed": int(table.seed[i]),
        "rate": j,
        "m": int(table.num_params[i]),
    }
    for selection in _SELECTIONS:
        values = {key: table.chosen(name, selection)[i, j] for key, name in _CHOSEN.items()}
        if values["step"] < 0:  # It was never chosen.
            values = dict.fromkeys(values, np.nan)
        model[selection] = {key: _rounded(value) for key, value in values.items()}
        model[selection]["censored"] = bool(table.marks[f"censored_{selection}"][i, j])
    model["curves"] = {
        key: _curve(table.values[name][i, j][_kept(table, grid)]) if name in table.values else []
        for key, (grid, name) in _CURVES.items()
    }
    return model


def _steps(table: Blocks, grid: str) -> np.ndarray:
    return table.shared.get(grid, np.zeros(0, int))


def _kept(table: Blocks, grid: str) -> np.ndarray:
    """Which of the steps of a grid are drawn, the first and the last among them."""
    count = len(_steps(table, grid))
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
