"""What stands beside the edge of stability, on tables in which it is known."""

import numpy as np
import pytest
import xarray as xr

from igrlib.experiments.verdicts import edge

STEPS = np.array([100, 300, 1000])
MODELS = ("block", "treatment", "curvature_step")


def table(*, seeds=(0, 1, 2), curvature=(10.0, 21.0, 40.0), residual=0.0):
    """h = 0.1 without and with μ = 0.01, batches of 8 and 32; λ_max is larger by the seed."""
    seed = np.tile(seeds, 2)
    size = np.repeat([8, 32], len(seeds))
    shape = (len(seed), 2, len(STEPS))
    whole = np.array(curvature) + seed[:, None, None] + np.zeros(shape)
    whole[size == 32] /= 2
    batches = np.array([10.0, 19.0, 21.0, np.nan])
    return xr.Dataset(
        {
            "lambda_max": (MODELS, whole),
            "lambda_max_residual": (MODELS, np.full(shape, residual)),
            "batch_sharpness": (MODELS, 2 * whole),
            "batch_lambda_max": ((*MODELS, "batch"), batches + np.zeros((*shape, 4))),
        },
        {
            "seed": ("block", seed),
            "batch_size": ("block", size),
            "learning_rate": ("treatment", [0.1, 0.1]),
            "mu": ("treatment", [0.0, 0.01]),
            "curvature_step": STEPS,
        },
    )


def test_quantities_beside_the_edge():
    found = edge.edge_quantities(table(residual=3.0))
    assert found["scaled"].dims == MODELS
    np.testing.assert_allclose(found["scaled"][0, 0], [1.0, 2.1, 4.0])
    np.testing.assert_allclose(found["scaled"][0, 1], [1.0 * 1.2, 2.1 * 1.42, 4.0 * 1.8])
    np.testing.assert_allclose(found["residual"], 0.3)
    np.testing.assert_allclose(found["batch_sharpness"][0, 0], [2.0, 4.2, 8.0])
    # Of the three batches that were measured; 0.1·19·(1 + 0.02·19) = 2.6.
    np.testing.assert_allclose(found["beyond"][:, 0], 1 / 3)
    np.testing.assert_allclose(found["beyond"][:, 1], 2 / 3)


def test_a_share_is_of_the_batches_that_were_measured():
    one = table()
    one["batch_lambda_max"][0, 0, 0, :2] = np.nan
    one["batch_lambda_max"][0, 0, 1] = np.nan
    found = edge.edge_quantities(one)["beyond"][0, 0]
    np.testing.assert_allclose(found, [1.0, np.nan, 1 / 3])


def test_curves_are_medians_and_ranges_by_batch_size_and_treatment():
    one = table()
    one["lambda_max"][1, 0, 2] = np.nan
    one["lambda_max"][:, :, 1] = one["lambda_max"][:, :, 1].where(one["batch_size"] != 32)
    curves = edge.edge_curves(one, "scaled")
    keys = [(curve.batch_size, curve.learning_rate, curve.mu) for curve in curves]
    assert keys == [(8, 0.1, 0.0), (8, 0.1, 0.01), (32, 0.1, 0.0), (32, 0.1, 0.01)]
    first, third = curves[0], curves[2]
    np.testing.assert_allclose(first.median, [1.1, 2.2, 4.1])
    np.testing.assert_allclose(first.low, [1.0, 2.1, 4.0])
    np.testing.assert_allclose(first.high, [1.2, 2.3, 4.2])
    assert first.count.tolist() == [3, 3, 2]
    np.testing.assert_allclose(third.median, [0.55, np.nan, 2.05])
    assert third.count.tolist() == [3, 0, 3]


def test_the_first_step_beyond_the_edge():
    """0.1·20 at the last step of batches of 32 is at the edge and not beyond it."""
    np.testing.assert_array_equal(
        edge.first_beyond(table())[:, 0], [300, 300, 300, np.nan, 1000, 1000]
    )
    # h·λ_max(1 + 2μλ_max) of the last seed with 11: 0.1·11·1.22.
    np.testing.assert_array_equal(edge.first_beyond(table())[:3, 1], 300)
    # Within the residual it is not known to be: 21 − 2 is below 20, 23 − 2 is not.
    np.testing.assert_array_equal(edge.first_beyond(table(residual=2.0))[:3, 0], [1000, 1000, 300])
    assert edge.first_beyond(table(curvature=(1.0, 2.0, 3.0))).isnull().all()


def test_what_was_not_measured_is_refused():
    for ask in (edge.edge_quantities, edge.first_beyond):
        with pytest.raises(ValueError, match="measured at curvature steps, got none"):
            ask(table().isel(curvature_step=[]))
        with pytest.raises(ValueError, match="measured at curvature steps, got none"):
            ask(table().isel(curvature_step=0))
    with pytest.raises(ValueError, match=r"name must be one of scaled, .*, got 'sharpness'"):
        edge.edge_curves(table(), "sharpness")
