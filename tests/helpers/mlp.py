"""An MLP by hand, in float64 NumPy: logits, loss, gradient, and what is measured of it."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np


def layers_of(params):
    """Kernels and biases in float64, first layer first."""
    layers = params["params"]
    assert sorted(layers) == [f"Dense_{k}" for k in range(len(layers))]
    return [
        tuple(np.asarray(layers[f"Dense_{k}"][name], np.float64) for name in ("kernel", "bias"))
        for k in range(len(layers))
    ]


def params_of(layers):
    """The other way round than `layers_of`."""
    return {
        "params": {
            f"Dense_{k}": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
            for k, (kernel, bias) in enumerate(layers)
        }
    }


def random_layers(sizes, seed=0):
    """Layers in float64 with biases that are not 0, or they would not be tested."""
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=s) / np.sqrt(s[0]), rng.normal(size=s[1]) / 4) for s in pairwise(sizes)
    ]


def forward_numpy(layers, images, nonlinear=lambda x: np.maximum(x, 0)):
    """The input of every layer, and the logits."""
    inputs = [np.asarray(images, np.float64).reshape(len(images), -1)]
    for kernel, bias in layers:
        outputs = inputs[-1] @ kernel + bias
        inputs.append(nonlinear(outputs))
    return inputs[:-1], outputs


def log_softmax_numpy(logits):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def loss_and_gradient_numpy(layers, images, labels):
    """The mean cross entropy and its gradient for every layer, by backpropagation."""
    inputs, logits = forward_numpy(layers, images)
    rows = np.arange(len(labels))
    log_probabilities = log_softmax_numpy(logits)
    delta = np.exp(log_probabilities)
    delta[rows, labels] -= 1
    delta /= len(labels)
    gradient = []
    for (kernel, _), x in zip(reversed(layers), reversed(inputs), strict=True):
        gradient.append((x.T @ delta, delta.sum(0)))
        delta = (delta @ kernel.T) * (x > 0)
    return -log_probabilities[rows, labels].mean(), gradient[::-1]


def squared_norm_numpy(layers):
    return sum((a**2).sum() for layer in layers for a in layer)


def add_numpy(layers, scale, others):
    pairs = zip(layers, others, strict=True)
    return [tuple(a + scale * b for a, b in zip(*pair, strict=True)) for pair in pairs]


def measures_numpy(images, labels, layers):
    """Loss, accuracy, ‖∇E‖² and Σ‖θ‖²‖∇E‖² over the arrays, of images that are bytes."""
    loss, gradient = loss_and_gradient_numpy(layers, images / 255, labels)
    _, outputs = forward_numpy(layers, images / 255)
    arrays = [
        (a, g)
        for layer, slope in zip(layers, gradient, strict=True)
        for a, g in zip(layer, slope, strict=True)
    ]
    scale_free = sum((a**2).sum() * (g**2).sum() for a, g in arrays)
    accuracy = (outputs.argmax(1) == labels).mean()
    return loss, accuracy, squared_norm_numpy(gradient), scale_free


class Widths:
    """An MLP of widths 5 and 4, so that no two layers can be taken for each other."""

    @staticmethod
    def apply(params, x):
        x = x.reshape(x.shape[0], -1)
        for name in ("Dense_0", "Dense_1", "Dense_2"):
            layer = params["params"][name]
            x = x @ layer["kernel"] + layer["bias"][None]
            x = x if name == "Dense_2" else jnp.maximum(x, 0)
        return x


def logits(params, images):
    return Widths.apply(params, images.astype(params["params"]["Dense_0"]["kernel"].dtype) / 255)
