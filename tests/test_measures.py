"""igrlib.experiments.measures against backpropagation by hand, dense Hessians and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import largest_array
from helpers.mlp import (
    Widths,
    layers_of,
    log_softmax_numpy,
    logits,
    loss_and_gradient_numpy,
    measures_numpy,
    params_of,
    random_layers,
)

from igrlib.experiments import measures as of

N = 23
LAYERS = random_layers((12, 5, 4, 3), seed=2)
PARAMS = params_of(LAYERS)
IMAGES = np.random.default_rng(3).integers(0, 256, (N, 3, 4, 1), np.uint8)
LABELS = np.random.default_rng(4).integers(0, 3, N)
DATA = jnp.asarray(IMAGES), jnp.asarray(LABELS)


def expected(images=IMAGES, labels=LABELS, layers=LAYERS):
    return measures_numpy(images, labels, layers)


def test_cross_entropy_is_the_mean_in_nats():
    found = of.cross_entropy(logits)(PARAMS, *DATA)
    np.testing.assert_allclose(found, expected()[0], rtol=1e-13)
    np.testing.assert_allclose(
        of.cross_entropy(lambda p, x: jnp.zeros((len(x), 3)))(PARAMS, *DATA), np.log(3), rtol=1e-14
    )


@pytest.mark.parametrize("at_once", [4, 22, 23, 500])
def test_scores_and_measures_of_a_split_in_parts(at_once):
    """Parts that leave 3 or 1 of the 23 examples over, one part, and less than one."""
    loss, accuracy, squared_gradient, scale_free = expected()
    assert 0 < accuracy < 1
    assert squared_gradient > 1e-3

    @jax.jit
    def both(p):
        kinds = (of.scores, of.measures)
        return [measure(logits, p, *DATA, at_once=at_once) for measure in kinds]

    scores, found = both(PARAMS)
    np.testing.assert_allclose(scores, (loss, accuracy), rtol=1e-12)
    assert found._fields == ("loss", "accuracy", "squared_gradient", "scale_free")
    np.testing.assert_allclose(found, (loss, accuracy, squared_gradient, scale_free), rtol=1e-12)


def test_memory_does_not_grow_with_the_split():
    """No array of the program is larger than the images themselves, with the default part too."""
    many = jnp.tile(DATA[0], (60, 1, 1, 1)), jnp.tile(DATA[1], 60)
    assert largest_array(lambda p: of.measures(logits, p, *many), PARAMS) == many[0].size
    found = jax.jit(lambda p: of.measures(logits, p, *many))(PARAMS)
    np.testing.assert_allclose(found, expected(), rtol=1e-12)


def test_measures_in_float32():
    """The precision of the experiments: the same to about six digits."""
    single = jax.tree.map(lambda a: a.astype(jnp.float32), PARAMS)
    loss, accuracy, squared_gradient, scale_free = expected(layers=layers_of(single))
    found = jax.jit(lambda p: of.measures(logits, p, *DATA, at_once=10))(single)
    assert {a.dtype for a in found} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(found.loss, loss, rtol=1e-6)
    np.testing.assert_allclose(found.accuracy, accuracy, rtol=1e-7)
    np.testing.assert_allclose(found.squared_gradient, squared_gradient, rtol=1e-5)
    np.testing.assert_allclose(found.scale_free, scale_free, rtol=1e-5)


def test_images_are_taken_as_the_model_takes_them():
    """Flat ones, and floats, with logits of their own."""
    x = jnp.asarray(IMAGES.reshape(N, -1) / 255)
    found = jax.jit(lambda p: of.measures(Widths.apply, p, x, DATA[1], at_once=9))(PARAMS)
    np.testing.assert_allclose(found, expected(), rtol=1e-12)


@pytest.mark.parametrize("at_once", [7, 500])
def test_logits_that_are_nan_answer_nothing(at_once):
    """One of 23: neither right nor wrong, and so is the accuracy of the whole split."""
    x, y = DATA
    spoilt = jnp.asarray(x, jnp.float64).at[3].set(jnp.nan)
    assert (np.asarray(y) == 0).any()  # What the largest of NaN would be.

    @jax.jit
    def both(p):
        return [
            measure(logits, p, spoilt, y, at_once=at_once) for measure in (of.measures, of.scores)
        ]

    found, scored = both(PARAMS)
    assert np.isnan(found.loss)
    assert np.isnan(found.accuracy)
    assert np.isnan(scored.accuracy)


@pytest.mark.parametrize(
    ("row", "accuracy"),
    [
        ([np.inf, np.inf, 0.0], np.nan),
        ([np.inf, 0.0, 0.0], np.nan),
        ([np.nan, 0.0, 1.0], np.nan),
        ([0.0, 1.0, np.nan], np.nan),
        ([3e38, 0.0, 1.0], 1.0),
        ([0.0, -np.inf, -1.0], 1.0),  # A class left out.
        ([0.0, 3e38, -1.0], 0.5),
    ],
)
def test_what_overflows_answers_nothing(row, accuracy):
    """Of two images of the first class, the other one right."""
    outputs = jnp.array([[1.0, 0.0, 0.0], row], jnp.float32)
    images, labels = jnp.arange(2), jnp.zeros(2, int)
    found = of.scores(lambda _, x: outputs[x], {}, images, labels)
    np.testing.assert_array_equal(found.accuracy, accuracy)


def dense_hessian_numpy(labels, images):
    """∇²E column by column, by central differences of the gradient by hand."""
    theta = np.concatenate([a.ravel() for layer in LAYERS for a in layer])

    def gradient(vector):
        layers, at = [], 0
        for kernel, bias in LAYERS:
            k, b = vector[at : at + kernel.size], vector[at + kernel.size :][: bias.size]
            layers.append((k.reshape(kernel.shape), b))
            at += kernel.size + bias.size
        _, found = loss_and_gradient_numpy(layers, images / 255, labels)
        return np.concatenate([a.ravel() for layer in found for a in layer])

    steps = 1e-6 * np.eye(theta.size)
    return np.array([(gradient(theta + e) - gradient(theta - e)) / 2e-6 for e in steps])


@pytest.fixture(scope="module")
def hessian():
    found = dense_hessian_numpy(LABELS, IMAGES)
    np.testing.assert_allclose(found, found.T, atol=1e-8)
    return found


def largest_eigenvalue(num_matvecs, at_once=500, model=logits, params=PARAMS, data=DATA):
    return float(
        jax.jit(
            lambda p: of.largest_hessian_eigenvalue(
                model, p, *data, num_matvecs=num_matvecs, at_once=at_once
            )
        )(params).value
    )


@pytest.mark.slow
def test_largest_eigenvalue_of_the_dense_hessian(hessian):
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert eigenvalues[0] < -0.01 * eigenvalues[-1]
    np.testing.assert_allclose(largest_eigenvalue(20, at_once=10), eigenvalues[-1], rtol=1e-6)


@pytest.mark.slow
def test_few_products_estimate_from_below(hessian):
    largest = np.linalg.eigvalsh(hessian)[-1]
    # One product is the Rayleigh quotient of the gradient.
    _, gradient = loss_and_gradient_numpy(LAYERS, IMAGES / 255, LABELS)
    g = np.concatenate([a.ravel() for layer in gradient for a in layer])
    one, three = largest_eigenvalue(1), largest_eigenvalue(3)
    np.testing.assert_allclose(one, g @ hessian @ g / (g @ g), rtol=1e-6)
    assert one < 0.99 * largest
    assert one < three <= largest * (1 + 1e-7)


@pytest.mark.slow
def test_the_residual_is_that_of_the_vector(hessian):
    """Of one product the vector is the gradient; of many it is an eigenvector."""
    _, gradient = loss_and_gradient_numpy(LAYERS, IMAGES / 255, LABELS)
    g = np.concatenate([a.ravel() for layer in gradient for a in layer])

    def found_by(num_matvecs, at_once):
        kinds = {"num_matvecs": num_matvecs, "at_once": at_once}
        return jax.jit(lambda p: of.largest_hessian_eigenvalue(logits, p, *DATA, **kinds))(PARAMS)

    found = found_by(1, 10)
    v = g / np.linalg.norm(g)
    wanted = np.linalg.norm(hessian @ v - (v @ hessian @ v) * v)
    np.testing.assert_allclose(found, (v @ hessian @ v, wanted), rtol=1e-6)
    close = found_by(20, 500)
    assert close.residual < 1e-2 * close.value
    assert abs(close.value - np.linalg.eigvalsh(hessian)[-1]) <= close.residual + 1e-7


@pytest.mark.slow
def test_sharpness_is_that_of_the_split_and_of_its_first_batches(hessian):
    """By the dense Hessians of NumPy: three batches of 7 of the 23 examples."""
    sizes = {"batch_size": 7, "num_batches": 3, "num_matvecs": 25, "at_once": 10}
    found = jax.jit(lambda p: of.sharpness(logits, p, *DATA, **sizes))(PARAMS)
    curved, squared, largest = [], [], []
    for k in range(0, 21, 7):
        x, y = IMAGES[k : k + 7], LABELS[k : k + 7]
        _, gradient = loss_and_gradient_numpy(LAYERS, x / 255, y)
        g = np.concatenate([a.ravel() for layer in gradient for a in layer])
        dense = dense_hessian_numpy(y, x)
        curved.append(g @ dense @ g)
        squared.append(g @ g)
        largest.append(np.linalg.eigvalsh(dense)[-1])
    curved, squared = np.array(curved), np.array(squared)
    np.testing.assert_allclose(found.lambda_max, np.linalg.eigvalsh(hessian)[-1], rtol=1e-6)
    assert found.lambda_max_residual < 1e-2 * found.lambda_max
    np.testing.assert_allclose(found.batch_sharpness, curved.mean() / squared.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.batch_sharpness_mean, (curved / squared).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.batch_lambda_max, largest, rtol=1e-5)
    # Three, and two over.
    every = jax.jit(lambda p: of.sharpness_of_batches(logits, p, *DATA, batch_size=7))(PARAMS)
    np.testing.assert_allclose(
        every, (found.batch_sharpness, found.batch_sharpness_mean), rtol=1e-9
    )
    with pytest.raises(ValueError, match=r"num_batches must be .* 3, got 4"):
        of.sharpness(logits, PARAMS, *DATA, batch_size=7, num_batches=4)


def quadratic_logits(params, images):
    """Two classes told apart by one number: softmax of (s, 0)."""
    s = params["s"] * jnp.ones(len(images))
    return jnp.stack([s, jnp.zeros_like(s)], axis=1)


@pytest.mark.parametrize(("s", "labels"), [(0.7, [0, 0, 1]), (0.0, [0, 1])])
def test_largest_eigenvalue_of_one_parameter(s, labels):
    """λ_max = p(1 − p), and ¼ at the flat point, where the gradient is exactly 0."""
    p = 1 / (1 + np.exp(-s))
    data = jnp.zeros((len(labels), 1)), jnp.asarray(labels)
    found = largest_eigenvalue(1, model=quadratic_logits, params={"s": jnp.asarray(s)}, data=data)
    np.testing.assert_allclose(found, p * (1 - p), rtol=1e-12)


def linear(params, images):
    return images @ params


def softmax_hessian_numpy(params, images):
    """Of the mean cross entropy of linear logits: the mean of xxᵀ ⊗ (diag q − qqᵀ)."""
    x, outputs = np.asarray(images, np.float64), np.asarray(images, np.float64) @ params
    q = np.exp(log_softmax_numpy(outputs))
    inner = [np.diag(row) - np.outer(row, row) for row in q]
    return np.mean([np.kron(np.outer(a, a), b) for a, b in zip(x, inner, strict=True)], axis=0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_an_exhausted_krylov_space_gives_the_largest_eigenvalue(dtype):
    """One example, 3 classes: a Hessian of rank 2, and 10 products."""
    found, wanted = [], []
    compute = jax.jit(lambda *args: of.largest_hessian_eigenvalue(linear, *args).value)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        images, params = rng.normal(size=(1, 4)).astype("f4"), rng.normal(size=(4, 3)).astype("f4")
        label = jnp.asarray(rng.integers(0, 3, 1))
        found.append(compute(jnp.asarray(params, dtype), jnp.asarray(images, dtype), label))
        wanted.append(np.linalg.eigvalsh(softmax_hessian_numpy(params, images))[-1])
    np.testing.assert_allclose(found, wanted, rtol=200 * float(jnp.finfo(dtype).eps))


def test_more_products_than_parameters():
    data = jnp.zeros((3, 1)), jnp.asarray([0, 0, 1])
    found = largest_eigenvalue(10, model=quadratic_logits, params={"s": jnp.zeros(())}, data=data)
    np.testing.assert_allclose(found, 0.25, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("num_matvecs", [1, 2, 10])
def test_a_hessian_of_zeros_has_eigenvalue_zero(num_matvecs):
    """Images of zeros, and a network so confident that its losses underflow."""
    params = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    dark = jnp.zeros((2, 4), jnp.float32), jnp.asarray([0, 2])
    sure = jnp.eye(2, 4, dtype=jnp.float32), jnp.asarray([0, 1])
    certain = 1e4 * jnp.eye(4, 3, dtype=jnp.float32)
    assert largest_eigenvalue(num_matvecs, model=linear, params=params, data=dark) == 0
    assert largest_eigenvalue(num_matvecs, model=linear, params=certain, data=sure) == 0


def test_the_largest_eigenvalue_is_the_algebraic_one():
    """At s = (a, 0) logits (s_0·s_1, 0) have Hessian [[0, c], [c, a²/4]], c = ½ − y."""
    model = lambda p, x: jnp.stack([p[0] * p[1] * x, 0 * x], axis=1)  # noqa: E731
    hessian = np.array([[0, -0.5], [-0.5, 0.1**2 / 4]])
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert eigenvalues[0] < -0.4
    found = largest_eigenvalue(
        2, model=model, params=jnp.array([0.1, 0.0]), data=(jnp.ones(1), jnp.array([0]))
    )
    np.testing.assert_allclose(found, eigenvalues[1], rtol=1e-12)


def test_a_model_that_diverged_has_no_largest_eigenvalue():
    nan = jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), PARAMS)
    assert np.isnan(largest_eigenvalue(3, params=nan))


OVER_SPLITS = {
    "cross_entropy": lambda *split: of.cross_entropy(logits)(PARAMS, *split),
    "scores": lambda *split: of.scores(logits, PARAMS, *split, at_once=5),
    "measures": lambda *split: of.measures(logits, PARAMS, *split, at_once=5),
    "largest_hessian_eigenvalue": lambda *split: of.largest_hessian_eigenvalue(
        logits, PARAMS, *split, at_once=5
    ),
    "mean_squared_batch_gradient": lambda *split: of.mean_squared_batch_gradient(
        logits, PARAMS, *split, batch_size=1
    ),
}
BAD_SPLITS = {
    "a label below 0": (23, np.where(LABELS == 2, -1, LABELS), ValueError, "from 0 to 2.*got -1"),
    "a label above the classes": (23, LABELS + 1, ValueError, "labels must be from 0 to 2.*got 3"),
    "fewer labels": (23, LABELS[:20], ValueError, r"labels .* shape \(20,\) for 23 images"),
    "fewer images": (20, LABELS, ValueError, r"labels .* shape \(23,\) for 20 images"),
    "nothing": (0, LABELS[:0], ValueError, "labels .* one or more, .* for 0 images"),
    "numbers": (23, LABELS / 1, TypeError, "labels must be integers.*float64"),
    "one-hot": (
        23,
        np.eye(3, dtype=int)[LABELS],
        ValueError,
        r"labels must be a vector.*\(23, 3\)",
    ),
}


@pytest.mark.parametrize("bad", BAD_SPLITS)
@pytest.mark.parametrize("name", OVER_SPLITS)
def test_splits_that_are_refused(name, bad, without_type_hook):
    n, labels, error, message = BAD_SPLITS[bad]
    with pytest.raises(error, match=message):
        OVER_SPLITS[name](DATA[0][:n], jnp.asarray(labels))


@pytest.mark.slow
def test_lengths_are_looked_at_inside_jit_too(without_type_hook):
    for name, over in OVER_SPLITS.items():
        with pytest.raises(ValueError, match="labels must be a vector"):
            jax.jit(over)(DATA[0], DATA[1][:20])
        assert np.isfinite(jax.tree.leaves(jax.jit(over)(*DATA))).all(), name


def by_batch(data, size):
    return float(
        jax.jit(lambda p: of.mean_squared_batch_gradient(logits, p, *data, batch_size=size))(PARAMS)
    )


@pytest.mark.parametrize("batch_size", [1, 7, 23])
def test_mean_squared_batch_gradient_is_its_definition(batch_size):
    """The last 23 mod `batch_size` examples are left out."""
    squares = [
        expected(IMAGES[k : k + batch_size], LABELS[k : k + batch_size])[2]
        for k in range(0, N - batch_size + 1, batch_size)
    ]
    assert len(squares) == N // batch_size
    found = by_batch(DATA, batch_size)
    np.testing.assert_allclose(found, np.mean(squares), rtol=1e-12)
    if batch_size == N:
        np.testing.assert_allclose(found, expected()[2], rtol=1e-12)


def test_batches_have_larger_gradients_than_the_split():
    """Mean ‖∇E_B‖² = ‖∇E‖² + variance, for batches that make up the split (Jensen)."""
    whole = expected(IMAGES[:20], LABELS[:20])[2]
    found = [by_batch((DATA[0][:20], DATA[1][:20]), size) for size in (20, 5, 1)]
    np.testing.assert_allclose(found[0], whole, rtol=1e-12)
    assert found == sorted(found)
    assert found[-1] > 1.1 * whole


noise = jax.jit(of.perturbed)


def test_noise_is_normal_and_multiplies():
    """Moments of η in θ(1 + η), and that every parameter has its own."""
    shape = (200, 100)
    params = {"a": jnp.full(shape, -2.0), "b": jnp.full(shape, 3.0, jnp.float32), "c": jnp.zeros(9)}
    for sigma in (0.25, 3.0):
        noisy = noise(params, jax.random.key(1), jnp.asarray(sigma))
        assert jax.tree.map(jnp.result_type, noisy) == jax.tree.map(jnp.result_type, params)
        eta = {k: np.asarray(noisy[k], np.float64) / params[k] - 1 for k in "ab"}
        for draws in eta.values():
            z = np.asarray(draws).ravel() / sigma
            # Five deviations of the estimates of 0, 1, 0 and 3.
            moments = [z.mean(), (z**2).mean(), (z**3).mean(), (z**4).mean()]
            widths = np.sqrt(np.array([1, 2, 15, 96]) / z.size)
            assert (np.abs(np.array(moments) - [0, 1, 0, 3]) < 5 * widths).all()
        correlation = np.corrcoef(np.ravel(eta["a"]), np.ravel(eta["b"]))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(eta["a"].size)
        np.testing.assert_array_equal(noisy["c"], 0)


def test_noise_depends_on_the_key_and_scales_with_sigma():
    params = {"a": jnp.linspace(1.0, 2.0, 50)}
    one, two, other = (
        np.asarray(noise(params, jax.random.key(key), jnp.asarray(sigma))["a"])
        for key, sigma in ((0, 0.5), (0, 1.0), (1, 0.5))
    )
    start = np.asarray(params["a"])
    np.testing.assert_allclose(two - start, 2 * (one - start), rtol=1e-12)
    assert (one != other).all()


def test_no_noise_changes_no_bit():
    params = {"a": jnp.linspace(1.0, 2.0, 50)}
    none = noise(params, jax.random.key(0), jnp.zeros(()))
    np.testing.assert_array_equal(none["a"], params["a"])


def test_accuracy_of_a_loss_with_ties_and_confident_errors():
    """Logits of ±50: the loss is 100 nats an error, and does not overflow on the way."""
    outputs = jnp.array([[50.0, -50.0], [50.0, -50.0], [-50.0, 50.0], [0.0, 0.0]])
    labels = jnp.array([0, 1, 1, 0])
    found = jax.jit(lambda x: of.scores(lambda p, x: p[x], outputs, x, labels, at_once=3))(
        jnp.arange(4)
    )
    wanted = -log_softmax_numpy(np.asarray(outputs))[np.arange(4), labels]
    np.testing.assert_allclose(wanted, [0, 100, 0, np.log(2)], atol=1e-12)
    np.testing.assert_allclose(found, (wanted.mean(), 0.75), rtol=1e-12)
