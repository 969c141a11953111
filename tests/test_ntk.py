"""igrlib.ntk against kernels in closed form, kernels written out in NumPy, and Proposition A.11."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    HALF,
    counted_compilations,
    few_examples,
    flat,
    largest_array,
)
from hypothesis import given
from hypothesis import strategies as st

import igrlib as ig
from igrlib import ntk

RNG = np.random.default_rng(7)
INPUTS = RNG.normal(size=(5, 2))
TARGETS = RNG.normal(size=(5, 3))
NETWORK = {
    "hidden": (jnp.asarray(RNG.normal(size=(2, 4))), jnp.asarray(RNG.normal(size=4))),
    "readout": jnp.asarray(RNG.normal(size=(4, 3))),
}


def network(params, inputs):
    """Two layers and a squashed output: no index of the kernel can be exchanged for another."""
    weights, bias = params["hidden"]
    return jnp.tanh(jnp.tanh(inputs @ weights + bias[None]) @ params["readout"])


def scalar_network(params, inputs):
    return network(params, inputs)[:, 1]


def network_jacobian():
    """∂f_a(x_i)/∂θ in NumPy, [i, a, parameter], by the chain rule on paper."""
    weights, bias = (np.asarray(leaf) for leaf in NETWORK["hidden"])
    readout = np.asarray(NETWORK["readout"])
    tanh = np.tanh(INPUTS @ weights + bias)
    n, c = len(INPUTS), readout.shape[1]
    squash = (1 - np.tanh(tanh @ readout) ** 2)[:, :, None]  # [i, a, 1]
    back = squash * (1 - tanh**2)[:, None, :] * readout.T[None]  # [i, a, hidden unit]
    to_weights = INPUTS[:, None, :, None] * back[:, :, None, :]
    to_readout = squash[..., None] * tanh[:, None, :, None] * np.eye(c)[None, :, None, :]
    return np.concatenate(
        [to_weights.reshape(n, c, -1), back, to_readout.reshape(n, c, -1)], axis=2
    )


JACOBIAN = network_jacobian()
KERNEL = np.einsum("iap,jbp->ijab", JACOBIAN, JACOBIAN)


def test_the_kernel_of_a_network_of_several_outputs():
    found = ntk.ntk(network, NETWORK, INPUTS)
    assert found.shape == (5, 5, 3, 3)
    np.testing.assert_allclose(found, KERNEL, rtol=1e-12, atol=1e-13)
    # No index can be exchanged with another unnoticed.
    for axes in ((1, 0, 2, 3), (0, 1, 3, 2)):
        assert not np.allclose(KERNEL, KERNEL.transpose(axes))


def test_the_kernel_of_a_network_of_one_output():
    found = ntk.ntk(scalar_network, NETWORK, INPUTS)
    assert found.shape == (5, 5)
    np.testing.assert_allclose(found, KERNEL[:, :, 1, 1], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found, found.T, rtol=1e-13)
    assert np.linalg.eigvalsh(found).min() > -1e-12


def test_the_kernel_of_linear_models():
    """K = ΦΦᵀ for f = Φθ, and x_i·x_j on the diagonal of the outputs for f = Wx."""
    features = RNG.normal(size=(4, 6))
    params = {"a": jnp.ones(2), "b": jnp.ones((2, 2))}
    found = ntk.ntk(
        lambda p, x: x[:, :2] @ p["a"] + x[:, 2:] @ p["b"].ravel(), params, jnp.asarray(features)
    )
    np.testing.assert_allclose(found, features @ features.T, rtol=1e-13, atol=1e-14)
    many = ntk.ntk(lambda w, x: x @ w, jnp.ones((2, 3)), INPUTS)
    np.testing.assert_allclose(
        many, np.multiply.outer(INPUTS @ INPUTS.T, np.eye(3)), rtol=1e-13, atol=1e-14
    )


def test_inputs_may_be_a_pytree_and_parameters_a_number():
    inputs = {"x": jnp.array([1.0, 2.0]), "shift": 0.5}
    found = ntk.ntk(lambda p, z: p**2 * z["x"] + z["shift"], 3.0, inputs)
    np.testing.assert_allclose(found, [[36, 72], [72, 144]], rtol=1e-15)


@pytest.mark.slow
@few_examples
@given(st.integers(1, 5), st.sampled_from([None, 1, 2, 3]), st.integers(0, 2**32 - 1))
def test_the_quadratic_form_is_that_of_the_kernel(n, c, seed):
    """Σ_ij ε_iᵀK(x_i, x_j)ε_j, with the kernel written out."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n, 2))
    errors = jnp.asarray(rng.normal(size=(n,) if c is None else (n, c)))

    def model(params, x):
        outputs = jnp.tanh(x @ params["w"]) * params["s"]
        return outputs[:, 0] if c is None else outputs

    params = {"w": jnp.asarray(rng.normal(size=(2, c or 1))), "s": jnp.array(1.5)}
    kernel = jax.jit(lambda p: ntk.ntk(model, p, inputs))(params)
    found = jax.jit(lambda p: ntk.ntk_quadratic_form(model, p, inputs, errors))(params)
    path = "i,ij,j->" if c is None else "ia,ijab,jb->"
    expected = np.einsum(path, errors, kernel, errors)
    assert found.shape == ()
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def test_the_quadratic_form_of_the_network_written_out():
    errors = network(NETWORK, INPUTS) - TARGETS
    expected = np.einsum("ia,ijab,jb->", errors, KERNEL, errors)
    np.testing.assert_allclose(
        ntk.ntk_quadratic_form(network, NETWORK, INPUTS, errors), expected, rtol=1e-13
    )
    np.testing.assert_allclose(
        ntk.ntk_quadratic_form(scalar_network, NETWORK, INPUTS, jnp.ones(5)),
        KERNEL[:, :, 1, 1].sum(),
        rtol=1e-13,
    )


def outputs_numpy():
    return np.asarray(network(NETWORK, INPUTS), np.float64)


# Loss of the outputs, factor of εᵀKε in Ẽ − E for a step h, with n = 5 examples.
SQUARES = {
    "sum of squares": (lambda f, y: ((f - y) ** 2).sum(), lambda h: h),
    "half the sum": (lambda f, y: ((f - y) ** 2).sum() / 2, lambda h: h / 4),
    "mean over examples": (lambda f, y: ((f - y) ** 2).sum() / 5, lambda h: h / 25),
    "half the mean": (lambda f, y: ((f - y) ** 2).sum() / 10, lambda h: h / 100),
}


@pytest.mark.parametrize("name", SQUARES)
def test_proposition_a_11_and_its_other_conventions(name):
    loss, factor = SQUARES[name]
    h = 0.3
    errors = outputs_numpy() - TARGETS
    value = float(loss(outputs_numpy(), TARGETS))
    expected = value + factor(h) * np.einsum("ia,ijab,jb->", errors, KERNEL, errors)
    found = ntk.ntk_modified_loss(network, loss, h)(NETWORK, INPUTS, TARGETS)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    direct = ig.modified_loss(lambda p: loss(network(p, INPUTS), TARGETS), h)(NETWORK)
    np.testing.assert_allclose(found, direct, rtol=1e-13)


def cross_entropy(outputs, labels):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], axis=1)
    return -chosen.mean()


def test_cross_entropy():
    """∂E/∂f = (softmax − one-hot)/n, written out in NumPy."""
    labels, h = np.array([0, 2, 1, 1, 0]), 0.7
    outputs = outputs_numpy()
    softmax = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    errors = (softmax - np.eye(3)[labels]) / 5
    value = -np.log(softmax[np.arange(5), labels]).mean()
    expected = value + h / 4 * np.einsum("ia,ijab,jb->", errors, KERNEL, errors)
    found = ntk.ntk_modified_loss(network, cross_entropy, h)(NETWORK, INPUTS, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_a_loss_of_one_output_without_targets():
    def loss(outputs):
        return (outputs**2).sum()

    outputs = outputs_numpy()[:, 1]
    expected = (outputs**2).sum() + 0.1 * outputs @ KERNEL[:, :, 1, 1] @ outputs
    found = ntk.ntk_modified_loss(scalar_network, loss, 0.1)(NETWORK, INPUTS)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_modified_loss_has_the_gradient_of_the_modified_loss():
    """∇Ẽ through the quadratic form: differentiating passes through ∂E/∂f as well."""
    h = 0.2
    composed = ig.modified_loss(lambda p: ((network(p, INPUTS) - TARGETS) ** 2).sum(), h)
    expected = jax.jit(jax.grad(composed))(NETWORK)
    modified = ntk.ntk_modified_loss(network, lambda f, y: ((f - y) ** 2).sum(), h)
    found = jax.jit(jax.grad(modified))(NETWORK, INPUTS, TARGETS)
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-10, atol=1e-10)


def test_the_quadratic_form_forms_neither_kernel_nor_jacobian():
    n = 97
    inputs, errors = jnp.ones((n, 2)), jnp.ones((n, 3))

    def kernel(params):
        return ntk.ntk(network, params, inputs)

    def form(params):
        return ntk.ntk_quadratic_form(network, params, inputs, errors)

    def modified(params):
        return ntk.ntk_modified_loss(network, lambda f: (f**2).sum(), 0.1)(params, inputs)

    assert largest_array(kernel, NETWORK) >= 9 * n * n
    # No larger than the hidden layer, n × 4.
    assert largest_array(form, NETWORK) <= 4 * n
    assert largest_array(modified, NETWORK) <= 4 * n


def test_jit_vmap_grad_and_no_second_trace():
    traces = []

    def model(params, inputs):
        traces.append(1)
        return params * inputs**2

    compiled = jax.jit(lambda p, x, e: ntk.ntk_quadratic_form(model, p, x, e))
    inputs, errors = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
    batches = [inputs, inputs + 1, inputs + 2]
    found = [compiled(0.3, batches[0], errors)]
    before = len(traces)
    with counted_compilations() as compilations:
        found += [compiled(0.3, batch, errors) for batch in batches[1:]]
    assert len(traces) == before
    assert compilations == []
    expected = [(0.5 * x**2 - (x + 1) ** 2) ** 2 for x in (1, 2, 3)]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    together = jax.vmap(lambda x: ntk.ntk_quadratic_form(model, 0.3, x, errors))(jnp.stack(batches))
    np.testing.assert_allclose(together, expected, rtol=1e-14)
    kernels = jax.jit(jax.vmap(lambda x: ntk.ntk(model, 0.3, x)))(jnp.stack(batches))
    np.testing.assert_allclose(kernels[1], [[16, 36], [36, 81]], rtol=1e-14)
    slope = jax.grad(lambda h: ntk.ntk_modified_loss(model, jnp.sum, h)(0.3, inputs))(0.5)
    np.testing.assert_allclose(slope, (1 + 4) ** 2 / 4, rtol=1e-14)


@pytest.mark.parametrize("dtype", [*HALF, jnp.float32])
def test_low_precision(dtype):
    """Sums of squares at float32 or wider; a float64 rate and float64 errors promote nothing."""
    params, inputs = jnp.asarray(2.0**-14, dtype), jnp.full(4, 2.0**-14, dtype)

    def model(p, x):
        return p * x

    errors = jnp.ones(4)
    form = ntk.ntk_quadratic_form(model, params, inputs, errors)
    assert form.dtype == jnp.float32
    assert float(form) == (4 * 2.0**-14) ** 2
    modified = ntk.ntk_modified_loss(model, lambda f: f.sum(dtype=jnp.float32), np.float64(0.5))
    assert modified(params, inputs).dtype == jnp.float32
    assert ntk.ntk(model, params, inputs).dtype == dtype
