"""What the trainer is held against beside PyTorch: a JAX loop of one step at a time.

Like the loop of `pytorch` it trains one model after another on the same network, batch and learning
rate, shuffles each epoch and measures nothing; a unit of work is a step of a model.
"""

from functools import partial
from typing import Any

import numpy as np

from .problems import RATE, synthetic
from .workers import Job


def jax_loop(width: int, batch_size: int, num_images: int, side: int) -> Job:
    """An epoch of one model in JAX, one compiled step at a time."""
    import jax
    import jax.numpy as jnp

    from igrlib.experiments.measures import cross_entropy

    images, labels = (jax.device_put(array) for array in synthetic(num_images, side))
    init, logits = network(width, side)
    loss, steps = cross_entropy(logits), num_images // batch_size
    rng = np.random.default_rng(1)

    @partial(jax.jit, donate_argnums=0)
    def step(params: Any, order: Any, t: Any, images: Any, labels: Any) -> Any:
        at = jax.lax.dynamic_slice(order, (t * batch_size,), (batch_size,))
        gradient = jax.grad(loss)(params, images[at], labels[at])
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradient)

    params = jax.jit(init)(jax.random.key(0))

    def train(num_steps: int) -> None:
        nonlocal params
        order = jnp.asarray(rng.permutation(num_images).astype(np.int32))
        for t in range(num_steps):
            params = step(params, order, t, images, labels)
        jax.block_until_ready(params)

    train(min(steps, 50))
    return Job(partial(train, steps), steps)


def network(width: int, side: int) -> tuple[Any, Any]:
    """`init(key)` and `logits(params, images)` of the paper's MLP, as the sweep makes them."""
    import jax.numpy as jnp

    from igrlib.experiments.networks import MLP

    net = MLP().module(width)

    def logits(params: Any, images: Any) -> Any:
        return net.apply(params, images.astype(jnp.float32) / 255)

    return lambda key: net.init(key, jnp.zeros((1, side, side, 1))), logits
