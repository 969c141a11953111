"""igrlib.experiments.sizes against the networks themselves and the counts that are printed."""

import jax
import jax.numpy as jnp
import pytest

from igrlib import data
from igrlib.experiments.sizes import mlp_size, resnet18_size, size_of
from igrlib.models.mlp import mlp
from igrlib.models.resnet import resnet18


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def made(net, dataset, *more):
    image = jnp.zeros((1, *data.IMAGE_SHAPES[dataset]))
    return jax.eval_shape(lambda x: net.init(jax.random.key(0), x, *more), image)["params"]


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize("depth", [1, 5])
def test_an_mlp_has_as_many_parameters_as_it_is_said_to(dataset, depth):
    assert mlp_size(dataset, 50, depth) == size(made(mlp(50, depth=depth), dataset))


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize(("dataset", "width"), [("digits", 1), ("cifar10", 64)])
def test_a_resnet_has_as_many_parameters_as_it_is_said_to(dataset, width, stem):
    found = resnet18_size(dataset, width, stem)
    assert found == size(made(resnet18(width, stem=stem), dataset, True))


def test_the_number_of_parameters_is_that_of_the_paper():
    """As in the legend of Figure 2."""
    assert [mlp_size("mnist", n) for n in (50, 1600)] == [49_960, 11_518_410]


def test_a_configuration_says_which():
    """Shards that were written before there was a choice have MLPs of five hidden layers."""
    assert size_of({"dataset": "mnist", "width": 50}) == 49_960
    config = {"dataset": "cifar10", "model": "resnet18", "width": 64, "stem": "cifar"}
    assert size_of(config) == 11_173_962
