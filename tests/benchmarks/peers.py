"""What the trainer is held against: a plain PyTorch loop, and a JAX loop of one step at a time.

Both train one model after another on the same network, batch and learning rate, shuffle each epoch
and measure nothing; a unit of work is a step of a model.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from .workers import Job

RATE = 0.01


def synthetic(num_images: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of bytes with labels, all random: how fast a step is does not hang on them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, side, side, 1), np.uint8)
    return images, rng.integers(0, 10, num_images).astype(np.int32)


def pytorch_loop(width: int, batch_size: int, num_images: int, side: int, threads: int) -> Job:
    """An epoch of one model in PyTorch, its images floats in memory beforehand."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    images, labels = synthetic(num_images, side)
    # Floats once and for all, where the trainers convert bytes at every step: PyTorch's best.
    data = torch.from_numpy(images).reshape(num_images, -1).float() / 255
    wanted = torch.from_numpy(labels).long()
    sizes = [data.shape[1], *[width] * 5]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    net, loss = nn.Sequential(*hidden, nn.Linear(width, 10)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    steps = num_images // batch_size

    def train(num_steps: int) -> None:
        order = torch.randperm(num_images)
        for at in order.split(batch_size)[:num_steps]:
            optimizer.zero_grad()
            loss(net(data[at]), wanted[at]).backward()
            optimizer.step()

    train(min(steps, 50))
    return Job(partial(train, steps), steps)


def jax_loop(width: int, batch_size: int, num_images: int, side: int) -> Job:
    """An epoch of one model in JAX, one compiled step at a time."""
    import jax
    import jax.numpy as jnp

    from igrlib.measures import cross_entropy

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

    from igrlib.models.mlp import mlp

    net = mlp(width)

    def logits(params: Any, images: Any) -> Any:
        return net.apply(params, images.astype(jnp.float32) / 255)

    return lambda key: net.init(key, jnp.zeros((1, side, side, 1))), logits
