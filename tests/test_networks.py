"""igrlib.experiments.networks: parameters counted by hand, names, and a network of one's own."""

import json
import math
from dataclasses import dataclass, fields
from typing import get_type_hints

import jax.numpy as jnp
import pytest
from helpers.arms import SMALL, changed

from igrlib.experiments import networks, records, runner
from igrlib.experiments.data import IMAGE_SHAPES
from igrlib.experiments.folder import Folder
from igrlib.experiments.networks import MLP, ResNet18, network_of, num_params, recorded_params
from igrlib.experiments.networks.model import Classifier
from igrlib.experiments.table import table_of


def mlp_by_hand(dataset, width, depth):
    pixels = math.prod(IMAGE_SHAPES[dataset])
    return (pixels + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * 10


def resnet_by_hand(dataset, width, stem):
    """Kernels without biases, a scale and an offset for each normalised channel, a linear layer."""
    channels = IMAGE_SHAPES[dataset][-1]
    size, inputs = (49 if stem == "imagenet" else 9) * channels * width + 2 * width, width
    for outputs in (width, 2 * width, 4 * width, 8 * width):
        size += 9 * inputs * outputs + 3 * 9 * outputs**2 + 4 * 2 * outputs
        if outputs != inputs:
            size += inputs * outputs + 2 * outputs
        inputs = outputs
    return size + (inputs + 1) * 10


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize("depth", [1, 5])
def test_an_mlp_has_as_many_parameters_as_counted_by_hand(dataset, depth):
    assert num_params(MLP(depth), 50, dataset) == mlp_by_hand(dataset, 50, depth)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
@pytest.mark.parametrize(("dataset", "width"), [("digits", 1), ("cifar10", 64)])
def test_a_resnet_has_as_many_parameters_as_counted_by_hand(dataset, width, stem):
    assert num_params(ResNet18(stem), width, dataset) == resnet_by_hand(dataset, width, stem)


def test_the_number_of_parameters_is_that_of_the_paper():
    """As in the legend of Figure 2."""
    assert [num_params(MLP(), n, "mnist") for n in (50, 1600)] == [49_960, 11_518_410]


def test_a_configuration_says_which():
    """Shards that were written before there was a choice have MLPs of five hidden layers."""
    assert recorded_params({"dataset": "mnist", "width": 50}) == 49_960
    config = {"dataset": "cifar10", "model": "resnet18", "width": 64, "stem": "cifar"}
    assert network_of(config) == ResNet18("cifar")
    assert recorded_params(config) == 11_173_962
    with pytest.raises(ValueError, match=r"model must be one of mlp, resnet18.*, got 'none'"):
        recorded_params(config | {"model": "none"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(0), "depth must be between 1 and 1000, got 0"),
        (lambda: MLP(100_000), "depth must be between 1 and 1000, got 100000"),
        (lambda: MLP(activation="elu"), "activation must be one of relu, tanh, gelu, got 'elu'"),
        (lambda: MLP(initial="keras"), "initial must be one of haiku, flax, got 'keras'"),
        (lambda: ResNet18("vgg"), "stem must be one of imagenet, cifar, got 'vgg'"),
    ],
)
def test_architectures_that_cannot_be(make, message, without_type_hook):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("network", "label"),
    [
        (MLP(), "MLP, five hidden layers"),
        (MLP(2, "tanh"), "MLP, 2 hidden layers, tanh"),
        (ResNet18(), "ResNet-18, stem for ImageNet"),
        (ResNet18("cifar"), "ResNet-18, stem for CIFAR"),
    ],
)
def test_what_records_call_them(network, label):
    assert network.label == label


@pytest.mark.parametrize(
    ("kind", "settings", "smooth"),
    [
        ("mlp", {"activation": "relu"}, False),
        ("mlp", {"activation": "tanh"}, True),
        ("mlp", {"activation": "gelu"}, True),
        ("mlp", {"activation": "tanh", "depth": 1, "initial": "flax"}, True),
        ("resnet18", {"stem": "imagenet"}, False),
        ("resnet18", {"stem": "cifar"}, False),
    ],
)
def test_which_are_smooth_functions_of_their_parameters(kind, settings, smooth):
    """ReLU has a kink at 0, and the ResNet has ReLUs; tanh has none."""
    assert networks.NETWORKS[kind](**settings).smooth is smooth


def test_settings_and_records_can_tell_the_fields_of_networks():
    """They stand beside those of the arm, and one name has one type."""
    hints = [get_type_hints(network) for network in networks.NETWORKS.values()]
    own = [{f.name for f in fields(network)} for network in networks.NETWORKS.values()]
    taken = {f.name for f in fields(SMALL)} | {"model", "width", "batch_size", "seeds", "steps"}
    # Of a layout, beside which they stand in a shard.
    taken |= {"devices", "group", "loop", "chunk"}
    types = {}
    for names, hint in zip(own, hints, strict=True):
        assert not names & (taken | {"num_params", "smooth"})
        for name in names:
            assert types.setdefault(name, hint[name]) == hint[name], name


@dataclass(frozen=True)
class Linear:
    """A network of one's own: logits proportional to the sums of `width` parts of an image."""

    kind = "linear"
    convolutional = False
    smooth = True
    bias: bool = True

    @property
    def label(self):
        return "linear in sums"

    def build(self, width, shape, scale):
        def init(key):
            return {"w": jnp.zeros((width, 10)), **({"b": jnp.zeros(10)} if self.bias else {})}

        def logits(params, images):
            x = images.reshape(len(images), -1).astype(jnp.float32) / scale
            sums = jnp.stack([part.sum(-1) for part in jnp.array_split(x, width, axis=1)], axis=1)
            return sums @ params["w"] + params.get("b", jnp.zeros(10))[None]

        return Classifier(init, logits)


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_and_recorded_as_what_it_is(tmp_path, monkeypatch):
    """Its m was that of an MLP, and so was its name, where both were told by configuration."""
    with pytest.raises(TypeError, match="network must be an architecture of"):
        changed(network=Linear())
    monkeypatch.setitem(networks.NETWORKS, "linear", Linear)
    arm = changed(network=Linear(), widths=(3,), num_seeds=(1,), min_steps=2, max_steps=2)
    (unit,) = runner.units([arm])
    runner.run_unit(unit, Folder(tmp_path, "mlp-sweep", "own"))
    record = records.open_record(tmp_path / "mlp-sweep-own")
    (shard,) = record.units.values()
    assert shard.meta["config"]["model"] == "linear in sums"
    config = json.loads(json.dumps(shard.meta["unit_config"]))
    assert (config["model"], config["bias"], config["num_params"]) == ("linear", True, 40)
    assert config["smooth"] is True
    assert "depth" not in config
    assert recorded_params(config) == table_of(record, "small").num_params[0] == 40
    assert num_params(Linear(bias=False), 3, SMALL.dataset) == 30
