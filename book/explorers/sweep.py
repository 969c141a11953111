"""A recorded sweep as data for its explorer: every model's chosen points and curves.

Source: Section 6, Figure 2; chapter 7, *MNIST*.
"""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex

from explorers._night import dark
from explorers.page import Explorer
from igrlib.experiments import table as tables
from igrlib.experiments.records import Record
from igrlib.experiments.thresholds import Thresholds
from igrlib.plots._tables import palette

__all__ = ["sweep_explorer"]

_POINTS = {"validation": "validation", "test": "test", "end": "final"}
_CURVES = {
    "loss": "train_loss",
    "squared_gradient": "train_squared_gradient",
    "accuracy": "test_accuracy",
}
_CHOSEN = {"step": "step", **_CURVES}


def sweep_explorer(record: Record, arm: str, figure: str) -> Explorer:
    """The models of Figure 2, compared in six ways: where each stands, and how it came there.

    Shows the models of `arm` that finished, did not diverge and had no explicit regularization:
    R_IG, ‖∇E‖², R_IG/E, training loss or test accuracy against λ = hm/4, in the colours and with
    the marks of the chapter's figures. Models are compared where test or validation accuracy is
    best, at the end of training, after equal steps, after equal physical time or at equal training
    loss; what was measured can be dealt out at random. `figure` is the label of the still figure
    that a reader without scripts is sent to.

    Raises `ValueError` for an arm that was not recorded.

    Source: Section 6, Figure 2; chapter 7, *MNIST*.
    """
    table = tables.plain(tables.table_of(record, arm))
    # Of the accuracies those count that were measured where the loss was.
    scores = table["test_accuracy"].rename(score_step="gradient_step")
    table = table.assign(test_accuracy=scores.reindex(gradient_step=table["gradient_step"]))
    rates = table["learning_rate"].values.tolist()
    colors = palette(record)
    shown = (table["finished"] & ~table["diverged"]).values
    widths = sorted(set(table["width"].values.tolist()))
    data = {
        "rates": rates,
        "colors": [to_hex(colors.learning_rates[h][:3]) for h in rates],
        # As in the chapter's figures on a dark page.
        "dark": ["#" + dark(to_hex(colors.learning_rates[h][:3])[1:]) for h in rates],
        "widths": {str(width): colors.markers[width] for width in widths},
        "least": Thresholds().rates,
        "steps": table["gradient_step"].values.tolist(),
        "models": [_model(table, i, j) for i, j in np.argwhere(shown).tolist()],
    }
    title = "The models of the sweep, compared in six ways and dealt out at random"
    return Explorer("sweep", title, figure, data)


def _model(table: xr.Dataset, i: int, j: int) -> dict[str, Any]:
    one = table.isel(block=i, treatment=j)
    model: dict[str, Any] = {
        "width": int(one["width"]),
        "seed": int(one["seed"]),
        "rate": j,
        "m": int(one["num_params"]),
    }
    for name, point in _POINTS.items():
        there = one.sel(point=point)
        values = {key: float(there[f"chosen_{of}"]) for key, of in _CHOSEN.items()}
        if values["step"] < 0:  # It was never chosen.
            values = dict.fromkeys(values, np.nan)
        model[name] = {key: _rounded(value) for key, value in values.items()}
        model[name]["censored"] = name != "end" and bool(one[f"censored_{name}"])
    model["curves"] = {key: _curve(one[of].values) for key, of in _CURVES.items()}
    return model


def _curve(values: np.ndarray) -> list[float | None]:
    """A value for each step, None where it was not measured, up to the last that was."""
    measured = np.flatnonzero(np.isfinite(values))
    shown = values[: measured[-1] + 1] if len(measured) else values[:0]
    return [_rounded(value) for value in shown]


def _rounded(value: Any) -> float | None:
    """None for what was not measured: JSON has no NaN."""
    # With all digits the models would weigh three times as much, and no figure would change.
    return float(f"{value:.5g}") if np.isfinite(value) else None
