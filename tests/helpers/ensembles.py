"""The ensemble of small MLPs that the trainer is tried with, and its state on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from helpers.mlp import logits, params_of, random_layers
from igrlib.experiments.ensemble import Ensemble, Members
from igrlib.experiments.measures import training_loss
from igrlib.experiments.networks.model import Classifier

N, SIZES = 22, (12, 5, 4, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 3, 4, 1), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, N).astype(np.int32)
# One seed at two learning rates, one of these with two seeds, and one that stops within an epoch.
MEMBERS = Members((0.5, 0.1, 0.1), (5, 5, 8), (50, 50, 13), (0.0,) * 3)
# Eleven: one stops within an epoch, the last one blows up at its first step.
MANY = Members((*(0.5, 0.1) * 5, 1e35), (*range(10), 2), (*(50,) * 4, 13, *(50,) * 6), (0.0,) * 11)


def init(key, dtype=jnp.float64):
    """Random layers; with biases, so that those that are mixed up do not pass unseen."""
    # One draw for all: it is the drawing that takes time to compile.
    leaves, structure = jax.tree.flatten(params_of(random_layers(SIZES)))
    ends = np.cumsum([leaf.size for leaf in leaves])
    numbers = jnp.split(jax.random.uniform(key, (ends[-1],), dtype, -0.8, 0.8), ends[:-1])
    shaped = [n.reshape(leaf.shape) for n, leaf in zip(numbers, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


MLP = Classifier(init, logits)


def trained_together(model, members, data, batch_size, layout=None, optimizer=optax.sgd):
    """Copies of a classifier, trained on cross entropy."""
    return Ensemble(
        training_loss(model),
        model.start,
        members,
        data,
        batch_size=batch_size,
        optimizer=optimizer,
        layout=layout,
    )


def model(params, k):
    return jax.tree.map(lambda a: np.asarray(a[k]), params)


def host(state):
    """Copies: `advance` takes the state it is given."""
    return jax.tree.map(lambda a: np.array(a), state)


def same_bits(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)
