"""How near the edge of stability models are, step by step: of the whole split and of its batches.

Descent on E is unstable on a quadratic beyond h·λ_max = 2, on a batch's E + μ‖∇E‖² beyond
h·λ(1 + 2μλ) = 2 with the λ of the batch. The batch sharpness is E[gᵀHg]/E‖g‖² over batches. For the
steps that SGD takes it has the role of λ at the edge (Andreyev & Beneventano, 2412.20553). This
module describes; the ladder gives the verdict on the edge.

Source: not in the paper; chapter 10, *The edge of stability*.
"""

from dataclasses import dataclass

import numpy as np

from igrlib.experiments._xarray import xr

__all__ = ["EDGE", "EdgeCurve", "edge_curves", "edge_quantities", "first_beyond"]

EDGE = 2.0
"""h·λ beyond which descent is unstable on a quadratic."""


@dataclass(frozen=True, eq=False)
class EdgeCurve:
    """One quantity of the models of one treatment and batch size, along the steps.

    step: (k,); median, low, high: over seeds and widths, (k,), NaN where nothing was measured;
    count: how many models were.
    """

    batch_size: int
    learning_rate: float
    mu: float
    step: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


def edge_quantities(table: xr.Dataset) -> xr.Dataset:
    """The quantities beside the edge, (block, treatment, curvature_step), NaN where not measured.

    scaled: h·λ_max(1 + 2μλ_max) of the training split; residual: h times the residual of λ_max;
    batch_sharpness: h times the batch sharpness; beyond: the share of the measured batches with
    h·λ_B(1 + 2μλ_B) > 2, in [0, 1]. Raises `ValueError` for a table without these measurements.

    Source: chapter 10, *The edge of stability*.
    """
    if "curvature_step" not in table.dims or not table.sizes["curvature_step"]:
        raise ValueError(
            "table must have been measured at curvature steps, got none: an arm takes "
            "num_curvatures for that"
        )
    h, mu, whole, of_batch = (
        table[name] for name in ("learning_rate", "mu", "lambda_max", "batch_lambda_max")
    )
    known = of_batch.notnull()
    over = (h * of_batch * (1 + 2 * mu * of_batch) > EDGE) & known
    found = {
        "scaled": h * whole * (1 + 2 * mu * whole),
        "residual": h * table["lambda_max_residual"],
        "batch_sharpness": h * table["batch_sharpness"],
        "beyond": over.sum("batch") / known.sum("batch").where(known.any("batch")),
    }
    found = {
        name: one.transpose("block", "treatment", "curvature_step") for name, one in found.items()
    }
    return xr.Dataset(found)


def edge_curves(table: xr.Dataset, name: str) -> list[EdgeCurve]:
    """Medians and ranges of one of `edge_quantities` by batch size and treatment.

    Raises `ValueError` for another name, and as `edge_quantities` does.

    Source: chapter 10, *The edge of stability*.
    """
    every = edge_quantities(table)
    if name not in every:
        raise ValueError(f"name must be one of {', '.join(map(str, every))}, got {name!r}")
    values, step = every[name], table["curvature_step"].values
    curves: list[EdgeCurve] = []
    for size in np.unique(table["batch_size"].values).tolist():
        of_size = values.isel(block=(table["batch_size"] == size).values)
        for k in range(table.sizes["treatment"]):
            rows = of_size.isel(treatment=k).values
            known = np.isfinite(rows)
            count = known.sum(axis=0)
            ends = np.full((3, len(step)), np.nan)
            for j in np.flatnonzero(count):
                column = rows[known[:, j], j]
                ends[:, j] = np.median(column), column.min(), column.max()
            if count.any():
                h, mu = (float(table[of].values[k]) for of in ("learning_rate", "mu"))
                curves.append(EdgeCurve(size, h, mu, step, ends[0], ends[1], ends[2], count))
    return curves


def first_beyond(table: xr.Dataset) -> xr.DataArray:
    """The first step measured with h·λ_max(1 + 2μλ_max) beyond 2, (block, treatment), else NaN.

    λ_max is a Ritz value, an estimate from below: an eigenvalue lies within its residual, and the
    largest is at least as large. A step counts if λ_max less its residual is beyond.

    Source: chapter 10, *The edge of stability*.
    """
    edge_quantities(table)  # Raises where nothing was measured.
    h, mu = table["learning_rate"], table["mu"]
    least = (table["lambda_max"] - table["lambda_max_residual"]).clip(min=0.0)
    over = (h * least * (1 + 2 * mu * least) > EDGE).transpose(
        "block", "treatment", "curvature_step"
    )
    at = table["curvature_step"].isel(curvature_step=over.argmax("curvature_step"))
    return at.where(over.any("curvature_step")).drop_vars("curvature_step", errors="ignore")
