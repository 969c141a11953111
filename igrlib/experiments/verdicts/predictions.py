"""P1 to P4, Predictions 2.1 to 2.4 of the paper, in a recorded sweep: what goes which way.

Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 9, *Explicit regularization*.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from igrlib.experiments._xarray import xr
from igrlib.experiments.table import area_under_noise
from igrlib.experiments.verdicts.equal_loss import lambda_max_at, lambda_max_loss, log_at, time_at

__all__ = ["CAUSES", "CLAIMS", "FITTED", "Question", "at_level", "edge_of", "questions"]

FITTED = "among models that fitted every training example"
"""The control that separates accuracy from how far training has come."""

EDGE = "among points with h·λ_max ≤ {:g}"
"""The control for stability, of full batches. With batches h·λ_max of the whole split stays far
below 2 whatever their own stability is (chapter 12): there is no such control."""

CLAIMS = {
    "2.1": "a larger learning rate goes with a smaller ‖∇E‖² at equal training loss",
    "2.2": "a larger learning rate goes with a smaller λ_max at the chosen point",
    "2.3": "a larger learning rate goes with a higher test accuracy at the chosen point",
    "2.4": "a larger learning rate goes with a larger area under accuracy against parameter noise",
}
"""The predictions as statements about h within a block: seed, width and batch size being equal."""

CAUSES = {
    number: claim.replace("learning rate", "μ, at the smallest learning rate,")
    for number, claim in CLAIMS.items()
}
"""The same of the regularizer alone, added explicitly while the step stays small."""


@dataclass(frozen=True, eq=False)
class Question:
    """One prediction, with its quantities as (block, treatment), NaN where not measured.

    name: of the primary quantity; falls: whether the prediction is that it falls with h; relative:
    whether it is a natural logarithm, else in percentage points; least: the smallest effect that
    matters, per doubling of the `factor` in per cent or points; edge: h·λ_max(1 + 2μλ_max) where
    the quantity was measured, beyond 2 at which descent on E + μ‖∇E‖² is unstable on a quadratic;
    loss, time: training loss and physical time n·h there; curvature_loss: the loss at which λ_max
    was measured; level: the training loss at which models are matched, None at chosen points;
    beside: other quantities of the same kind; controls: cells kept, by what they are; factor: what
    a block's models differ in, h or, with μ, the effective rate h + 4μ.
    """

    prediction: str
    name: str
    falls: bool
    relative: bool
    least: float
    primary: xr.DataArray
    edge: xr.DataArray
    loss: xr.DataArray
    time: xr.DataArray
    curvature_loss: xr.DataArray
    level: float | None = None
    beside: dict[str, xr.DataArray] = field(default_factory=dict)
    controls: dict[str, xr.DataArray] = field(default_factory=dict)
    factor: str = "h"

    @property
    def unit(self) -> str:
        """Of an effect."""
        return "%" if self.relative else "points"


def questions(
    table: xr.Dataset, *, level: float, edge: float, least: dict[str, float]
) -> list[Question]:
    """The four predictions as questions to a table.

    `level`: the training loss of P1; `edge`: the largest h·λ_max of a stable point; `least`: the
    smallest effect that matters, by prediction.
    """
    point = _point(table)
    controls = _controls(table, point)
    at = f"chosen by {point} accuracy"
    there = table.sel(point=point)
    step, loss = there["chosen_step"], there["chosen_train_loss"]
    chosen: Any = {
        "edge": edge_of(there["chosen_lambda_max"]),
        "loss": loss,
        "time": step.where(step >= 0) * table["learning_rate"],
        "curvature_loss": loss,
        # No control on h·λ_max: to keep small λ_max at large h would make the trend sought.
        "controls": controls,
    }
    return [
        at_level(table, level, edge=edge, least=least["2.1"]),
        Question(
            "2.2",
            f"λ_max at the point {at}",
            falls=True,
            relative=True,
            least=least["2.2"],
            primary=_log(there["chosen_lambda_max"]),
            beside={
                f"λ_max at training loss {level:g}": _log(lambda_max_at(table, level)),
                f"slope at the point {at}": _log(there["chosen_train_squared_gradient"]) / 2,
                **{
                    f"slope there after noise of σ = {sigma:g}": _log(
                        there["chosen_noise_slope"].sel(slope_sigma=sigma)
                    )
                    for sigma in there["slope_sigma"].values
                    if sigma > 0
                },
            },
            **chosen,
        ),
        Question(
            "2.3",
            f"test accuracy at the point {at}",
            falls=False,
            relative=False,
            least=least["2.3"],
            primary=100 * there["chosen_test_accuracy"],
            beside={
                "test accuracy at its own maximum, as in the paper": 100
                * table["chosen_test_accuracy"].sel(point="test"),
                "test accuracy at the end of the run": 100
                * table["chosen_test_accuracy"].sel(point="final"),
            },
            **chosen,
        ),
        Question(
            "2.4",
            f"area under accuracy against noise at the point {at}",
            falls=False,
            relative=False,
            least=least["2.4"],
            primary=100 * area_under_noise(table, point),
            **chosen,
        ),
    ]


def at_level(
    table: xr.Dataset, level: float, *, edge: float, least: float, alone: bool = False
) -> Question:
    """P1 at one training loss; `alone`: without the other losses beside."""
    crossing, time = edge_of(lambda_max_at(table, level)), time_at(table, level)
    controls = _controls(table, _point(table))
    if table["full_batch"].all() and str(table["optimizer"].values) == "sgd":
        # The rival explanation: beyond 2 gradient descent is thrown out of whatever is sharp.
        # Where λ_max is not known the point cannot be cleared of it.
        controls = {EDGE.format(edge): crossing <= edge, **controls}
    return Question(
        "2.1",
        f"‖∇E‖² at training loss {level:g}",
        falls=True,
        relative=True,
        least=least,
        primary=log_at(table, "train_squared_gradient", level),
        edge=crossing,
        loss=xr.full_like(time, level).where(np.isfinite(time)),
        time=time,
        curvature_loss=lambda_max_loss(table, level),
        level=level,
        beside={
            f"‖∇E‖² at training loss {other:g}": log_at(table, "train_squared_gradient", other)
            for other in table["level"].values.tolist()
            if not alone and not np.isclose(other, level)
        },
        controls=controls,
    )


def _point(table: xr.Dataset) -> str:
    """Where models are looked at: with all images trained on as the paper chose."""
    validated = table["chosen_test_accuracy"].sel(point="validation").notnull().any()
    return "validation" if validated else "test"


def _controls(table: xr.Dataset, point: str) -> dict[str, xr.DataArray]:
    return {
        FITTED: table["fitted"],
        "without runs whose best accuracy came in their last tenth": ~table[f"censored_{point}"],
    }


def edge_of(curvature: xr.DataArray) -> xr.DataArray:
    """h·λ_max(1 + 2μλ_max), beyond 2 at which descent on E + μ‖∇E‖² is unstable on a quadratic.

    Of plain descent: NaN for another optimizer, whose edge is elsewhere.
    """
    if str(curvature["optimizer"].values) != "sgd":
        return xr.full_like(curvature, np.nan)
    return curvature * curvature["learning_rate"] * (1 + 2 * curvature["mu"] * curvature)


def _log(values: xr.DataArray) -> xr.DataArray:
    """The logarithm of positive values; NaN for others."""
    return xr.ufuncs.log(values.where(values > 0))
