"""A recorded run and its flows as an `xarray.Dataset`, along one time axis.

Source: chapter 10, *The edge of stability*.
"""

from typing import Any

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.records import Record

__all__ = ["path_of", "path_units"]

_ALONG = {
    "step": ("loss", "squared_gradient"),
    "saved": ("moved", "central_loss", "central_squared_gradient"),
    "saved direction": ("eigenvalue", "residual", "central_variance"),
    "flow saved": ("distance", "mean_distance", "flow_loss", "flow_squared_gradient"),
    "flow saved direction": ("flow_eigenvalue",),
}
_DIMENSIONS = {name: tuple(along.split()) for along, names in _ALONG.items() for name in names}


def path_units(record: Record, arm: str | None = None) -> list[str]:
    """The names of the finished units that are single runs with flows, of one arm or of all."""
    return [
        name
        for name, shard in sorted(record.units.items())
        if "saved_step" in shard.arrays and arm in (None, shard.meta["unit_config"].get("name"))
    ]


def path_of(record: Record, unit: str) -> xr.Dataset:
    """A run of full-batch gradient descent and the flows that were followed beside it.

    Dimensions: `step`, every step n of the run; `saved`, the steps at which all else was measured;
    `flow`, "gradient", "modified", "principal", "central" and "rod", those that were followed;
    `direction`, eigenvalues in falling order. Coordinates besides: `time` of `saved` and
    `step_time` of `step`, both nh; `ended` and `why` of `flow`, the time after which a flow has no
    values, NaN where it has all, and the reason.

    Variables of the run: `loss` E and `squared_gradient` ‖∇E‖² at every step; `eigenvalue` of the
    Hessian, `scaled_curvature`, h times it, and its `residual`; `norm`, ‖θ_n‖, and `moved`,
    ‖θ_n − θ_0‖; `mean_loss` and `mean_squared_gradient`, means by trapezoids over the `window`
    steps around a saved one, NaN where some are missing: the means hold nothing that alternates
    from step to step. Variables of a flow: `distance` of the steps from it, `mean_distance` of
    (θ_{n−1} + 2θ_n + θ_{n+1})/4 (for the rod flow: of the midpoints of two steps from its own),
    `flow_loss`, `flow_squared_gradient` and `flow_eigenvalue`; NaN before its start and after
    its end. Where the central flow was followed, its predictions of the means:
    `central_loss` and `central_squared_gradient`, and `central_variance`, the eigenvalues of Σ.

    Attributes: `unit`, `arm`, `dataset`, `network`, `smooth`, `width`, `num_params`, `seed`,
    `learning_rate`, `window`, `diverged` (the first step without a finite loss, −1 for none).

    Raises `ValueError` for a unit that is not there, or is not of this kind.

    Source: chapter 10, *The edge of stability*.
    """
    if unit not in record.units:
        known = path_units(record)
        raise ValueError(f"unit must be one of {known}, which are recorded, got {unit!r}")
    shard = record.units[unit]
    arrays, config = shard.arrays, shard.meta["unit_config"]
    missing = [name for name in ("saved_step", "flow", "loss", "why") if name not in arrays]
    if missing or "window" not in config:
        raise ValueError(f"unit {unit} is not a run with its flows: it has no {missing[0]}")
    h, saved = float(arrays["learning_rate"][0]), arrays["saved_step"]
    steps = np.arange(len(arrays["loss"]))
    ended = np.where(arrays["ended"] >= 0, h * arrays["ended"], np.nan)
    coordinates: dict[str, Any] = {
        "step": steps,
        "saved": saved,
        "flow": arrays["flow"],
        "step_time": ("step", h * steps),
        "time": ("saved", h * saved),
        "ended": ("flow", ended),
        "why": ("flow", arrays["why"]),
    }
    variables: dict[str, Any] = {
        name: (dimensions, np.asarray(arrays[name], np.float64))
        for name, dimensions in _DIMENSIONS.items()
        if name in arrays
    }
    variables["norm"] = ("saved", np.asarray(arrays["norm"][0], np.float64))
    variables["scaled_curvature"] = (("saved", "direction"), h * variables["eigenvalue"][1])
    window = int(config["window"])
    for name in ("loss", "squared_gradient"):
        variables[f"mean_{name}"] = ("saved", _means(variables[name][1], saved, window))
    facts = {name: config[name] for name in ("dataset", "smooth", "width", "num_params", "window")}
    return xr.Dataset(variables, coordinates).assign_attrs(
        unit=unit,
        arm=str(config["name"]),
        network=str(shard.meta["config"]["model"]),
        seed=int(arrays["seed"][0]),
        learning_rate=h,
        diverged=int(arrays["diverged"][0]),
        **facts,
    )


def _means(values: np.ndarray, saved: np.ndarray, window: int) -> np.ndarray:
    """Means over `window` steps around each saved step, the two at the ends with half a weight."""
    weights = np.ones(window + 1)
    weights[[0, -1]] = 0.5
    if len(values) < len(weights):
        return np.full(len(saved), np.nan)
    means = np.convolve(values, weights / window, mode="valid")
    return np.pad(means, window // 2, constant_values=np.nan)[saved]
