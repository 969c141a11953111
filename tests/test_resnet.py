"""ResNet-18 against Haiku's own, published counts and batch norm's algebra."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from igrlib.experiments.networks import ResNet18

IMAGES = np.random.default_rng(0).normal(size=(4, 32, 32, 3))


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(net, images=IMAGES):
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, True), jnp.asarray(images))


@pytest.mark.parametrize(
    ("num_classes", "stem", "published"),
    [
        (1000, "imagenet", 11_689_512),  # torchvision's table of pretrained models
        (10, "cifar", 11_173_962),  # the many CIFAR-10 implementations after He et al.
        (10, "imagenet", 11_689_512 - 513 * 990),
    ],
)
def test_the_number_of_parameters_is_the_published_one(num_classes, stem, published):
    assert size(shapes(ResNet18(stem).module(num_classes=num_classes))["params"]) == published


def haiku_resnet(images, training):
    net = hk.nets.ResNet(
        num_classes=10,
        bottleneck=False,
        **{key: hk.nets.ResNet.CONFIGS[18][key] for key in ("blocks_per_group", "use_projection")},
        channels_per_group=(4, 8, 16, 32),
        initial_conv_config={"output_channels": 4},
    )
    return net(images, training)


def theirs(path):
    """Haiku's module of one of ours, named by its path."""
    *block, layer = path
    kinds = {
        "stem": "initial_conv",
        "stem_norm": "initial_batchnorm",
        "conv0": "conv_0",
        "conv1": "conv_1",
        "norm0": "batchnorm_0",
        "norm1": "batchnorm_1",
        "shortcut": "shortcut_conv",
        "shortcut_norm": "shortcut_batchnorm",
        "logits": "logits",
    }
    parts = ["res_net/~"]
    for name in block:
        group, place = name.removeprefix("group").split("_block")
        parts.append(f"block_group_{group}/~/block_{place}/~")
    return "/".join([*parts, kinds[layer]])


@pytest.fixture(scope="module")
def both():
    """Ours and Haiku's with the same random parameters and statistics, in float64."""
    rng = np.random.default_rng(1)
    ours = ResNet18().module(4)
    made = jax.tree.map(
        lambda leaf: rng.uniform(0.5, 1.5, leaf.shape) / max(leaf.shape[0], 2), shapes(ours)
    )
    transformed = hk.transform_with_state(haiku_resnet)
    params, state = jax.eval_shape(
        lambda key: transformed.init(key, jnp.asarray(IMAGES), True), jax.random.key(0)
    )
    names = {"kernel": "w", "scale": "scale", "bias": "offset"}
    taken = set()
    for path, leaf in jax.tree.leaves_with_path(made["params"]):
        *module, name = (key.key for key in path)
        key = theirs(module), "b" if module == ["logits"] and name == "bias" else names[name]
        params[key[0]][key[1]] = leaf.reshape(params[key[0]][key[1]].shape)
        taken.add(key)
    assert taken == {(module, name) for module, leaves in params.items() for name in leaves}
    for path, leaf in jax.tree.leaves_with_path(made["batch_stats"]):
        *module, name = (key.key for key in path)
        ema = state[f"{theirs(module)}/~/{name}_ema"]
        ema["average"] = leaf.reshape(ema["average"].shape)
        ema["hidden"], ema["counter"] = np.zeros(ema["hidden"].shape), np.zeros((), int)
    return ours, made, transformed, params, state


@pytest.mark.slow
@pytest.mark.parametrize("training", [True, False])
def test_logits_and_statistics_are_those_of_haiku(both, training):
    ours, made, transformed, params, state = both
    images = jnp.asarray(IMAGES)
    expected, after = jax.jit(transformed.apply, static_argnums=4)(
        params, state, None, images, training
    )
    found, changed = jax.jit(
        lambda v, x: ours.apply(v, x, training, mutable=["batch_stats"] if training else []),
    )(made, images)
    assert np.ptp(np.asarray(expected), axis=0).max() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    if not training:
        assert changed == {}
        return
    for path, leaf in jax.tree.leaves_with_path(changed["batch_stats"]):
        *module, name = (key.key for key in path)
        # Haiku corrects its first average for its start: what is left is that of the batch.
        of_batch = after[f"{theirs(module)}/~/{name}_ema"]["average"].ravel()
        before = made["batch_stats"]
        for key in path:
            before = before[key.key]
        np.testing.assert_allclose(leaf, 0.9 * before + 0.1 * of_batch, rtol=1e-8, atol=1e-12)


@pytest.fixture(scope="module")
def started():
    net = ResNet18().module(16)
    return net, jax.jit(net.init, static_argnums=2)(
        jax.random.key(0), jnp.asarray(IMAGES, jnp.float32), True
    )


@pytest.mark.slow
def test_weights_start_as_haiku_draws_them(started):
    """Normal of deviation 1/√fan-in cut off at two deviations, which leaves 0.8796 of it."""
    seen = 0
    for path, leaf in jax.tree.leaves_with_path(started[1]["params"]):
        name = path[-1].key
        if name == "kernel" and leaf.ndim == 4:
            deviations = np.asarray(leaf) * np.sqrt(np.prod(leaf.shape[:-1]))
            assert np.abs(deviations).max() <= 2
            if leaf.size > 5_000:
                seen += 1
                assert deviations.std() == pytest.approx(0.8796, rel=0.02)
                assert abs(deviations.mean()) < 4 / leaf.size**0.5
        else:
            np.testing.assert_array_equal(leaf, 1.0 if name == "scale" else 0.0)
    assert seen >= 10


@pytest.mark.slow
def test_every_class_is_as_likely_at_the_start(started):
    net, variables = started
    logits, _ = net.apply(
        variables, jnp.asarray(IMAGES, jnp.float32), True, mutable=["batch_stats"]
    )
    assert logits.shape == (4, 10)
    np.testing.assert_array_equal(logits, 0)


def test_batch_norm_makes_the_length_of_a_kernel_irrelevant(both):
    """To 10⁻⁵, the ε in the denominator beside variances of order 1."""
    net, made, *_ = both
    longer = jax.tree.map(lambda leaf: 7 * leaf if leaf.ndim == 4 else leaf, made["params"])
    apply = jax.jit(
        lambda p: net.apply(
            {**made, "params": p}, jnp.asarray(IMAGES), True, mutable=["batch_stats"]
        )[0]
    )
    one, other = apply(made["params"]), apply(longer)
    np.testing.assert_allclose(other, one, rtol=1e-3)
    scaled = jax.tree.map(lambda leaf: 7 * leaf if leaf.ndim == 2 else leaf, made["params"])
    assert not np.allclose(apply(scaled), one, rtol=1e-1)


def test_the_stem_of_cifar_keeps_the_images_at_their_size():
    """Sixteen times the positions in the first group, and so in each."""
    for stem, side in (("imagenet", 8), ("cifar", 32)):
        net = ResNet18(stem).module(4)
        _, state = jax.eval_shape(
            lambda v, x, net=net: net.apply(
                v, x, False, capture_intermediates=True, mutable=["intermediates"]
            ),
            shapes(net),
            jnp.asarray(IMAGES),
        )
        (first,) = state["intermediates"]["group0_block0"]["__call__"]
        (last,) = state["intermediates"]["group3_block1"]["__call__"]
        assert first.shape == (4, side, side, 4)
        assert last.shape == (4, side // 8, side // 8, 32)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"width": 0}, ValueError, "width must be at least 1, got 0"),
        ({"width": 4.0}, TypeError, "width must be an integer, got 4.0"),
        ({"num_classes": 1}, ValueError, "num_classes must be at least 2, got 1"),
    ],
)
def test_what_no_network_can_be_made_of_is_refused(without_type_hook, arguments, error, words):
    with pytest.raises(error, match=words):
        ResNet18().module(**arguments)
