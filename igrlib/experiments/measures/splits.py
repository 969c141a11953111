"""Loss, accuracy and gradient of a whole split, part by part.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer, Num

from igrlib._checks import check_integer, is_traced
from igrlib._trees import squared_norm
from igrlib._typing import PyTree
from igrlib.experiments.networks.model import Model

__all__ = [
    "AT_ONCE",
    "Logits",
    "Measures",
    "OverSplit",
    "Scores",
    "check_split",
    "cross_entropy",
    "mean_cross_entropy",
    "mean_squared_batch_gradient",
    "measures",
    "scores",
    "sum_over_parts",
    "totals",
    "training_loss",
]

AT_ONCE = 500
"""Examples in a part of a split: the fastest number of those tried at width 50 on a CPU."""

Logits: TypeAlias = Callable[[PyTree, Array], Array]
M = TypeVar("M")


class Scores(NamedTuple):
    """The loss E, a mean over the split in nats, and the accuracy, between 0 and 1."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


class Measures(NamedTuple):
    """The loss E, the accuracy, and ‖∇E‖², the square of the slope, of a whole split.

    R_IG is `squared_gradient` over the number of parameters, λR_IG is h/4 times it. `scale_free` is
    Σ_l ‖θ_l‖²‖∂E/∂θ_l‖² over the arrays θ_l of parameters: where batch norm makes the scale of an
    array irrelevant, c times the array has 1/c of the gradient, and the product stays.
    Source: eqs. (3), (4), Proposition 3.3; `scale_free` is not in the paper; chapters 7 and 8.
    """

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    squared_gradient: Float[Array, ""]
    scale_free: Float[Array, ""]


@dataclass(frozen=True)
class OverSplit(Generic[M]):
    """A measure of a whole split, computed from a sum over its parts.

    `part(logits, params, images, labels)` of each part; `finish(params, total, n)` for n examples.
    Called with `(logits, params, images, labels)` it computes all in one program, `at_once`
    examples at a time. Raises `TypeError` for labels that are not integers, and `ValueError` unless
    there is one label for each image, one or more, each from 0 to the number of classes − 1. Inside
    `jax.jit` it does not see the values of labels that are arguments.
    """

    part: Callable[[Logits, PyTree, Array, Array], Any]
    finish: Callable[[PyTree, Any, Any], M]

    def __call__(
        self,
        logits: Logits,
        params: PyTree,
        images: Num[Array, "n ..."],
        labels: Integer[Array, " n"],
        *,
        at_once: int = AT_ONCE,
    ) -> M:
        check_split(logits, params, images, labels)
        total = sum_over_parts(partial(self.part, logits, params), images, labels, at_once)
        return self.finish(params, total, len(labels))


def cross_entropy(logits: Logits) -> Callable[[PyTree, Array, Array], Float[Array, ""]]:
    """The loss `(params, images, labels) -> E`, the mean cross entropy in nats.

    The loss raises `TypeError` or `ValueError` for images and labels as `scores` does.
    """

    def loss(params: PyTree, images: Array, labels: Array) -> Float[Array, ""]:
        check_split(logits, params, images, labels)
        return mean_cross_entropy(logits(params, images), labels)

    return loss


def training_loss(model: Model) -> Callable[..., tuple[Float[Array, ""], PyTree]]:
    """The mean cross entropy in training mode, `(params, stats, images, labels) -> (E, stats)`.

    The statistics that it returns are those after these images.
    """

    def loss(
        params: PyTree, stats: PyTree, images: Array, labels: Array
    ) -> tuple[Float[Array, ""], PyTree]:
        outputs, after = model.training(params, stats, images)
        return mean_cross_entropy(outputs, labels), after

    return loss


def mean_cross_entropy(
    outputs: Float[Array, "n classes"], labels: Integer[Array, " n"]
) -> Float[Array, ""]:
    """The mean cross entropy in nats of logits."""
    return jnp.mean(_cross_entropies(outputs, labels))


def _cross_entropies(
    outputs: Float[Array, "n classes"], labels: Integer[Array, " n"]
) -> Float[Array, " n"]:
    """The cross entropy of each example, NaN for a label that is no class.

    Labels are compared with all classes, not looked up: the gradient of a look-up is a scatter,
    which a deterministic GPU does one element after the other.
    """
    classes = jnp.arange(outputs.shape[-1])[None]
    own = jnp.sum(jnp.where(labels[:, None] == classes, outputs, 0), axis=-1)
    known = (labels >= 0) & (labels < classes.size)
    return jnp.where(known, jax.nn.logsumexp(outputs, axis=-1) - own, jnp.nan)


def mean_squared_batch_gradient(
    logits: Logits,
    params: PyTree,
    images: Num[Array, "n ..."],
    labels: Integer[Array, " n"],
    *,
    batch_size: int,
) -> Float[Array, ""]:
    """The mean of ‖∇E_B‖² over the split cut into consecutive batches of `batch_size`.

    Stochastic gradient descent penalizes this mean in the place of ‖∇E‖² (Smith et al., 2021). The
    examples past the last whole batch are left out; the order of the split is the caller's. Raises
    `ValueError` for a batch larger than the split, and as `scores` does.

    Source: not in the paper; chapter 7.
    """
    check_split(logits, params, images, labels)
    loss = cross_entropy(logits)
    size = check_integer("batch_size", batch_size, low=1, high=len(labels))
    num_batches = len(labels) // size
    x, y = (_cut(a, num_batches, batch_size) for a in (images, labels))
    with jax.default_matmul_precision("highest"):
        squares = jax.lax.map(lambda b: squared_norm(jax.grad(loss)(params, *b)), (x, y))
    return jnp.mean(squares)


def check_split(logits: Logits, params: PyTree, images: Array, labels: Array) -> None:
    """Refuse images and labels that do not belong together, and labels that are no classes."""
    n, shape, dtype = len(images), jnp.shape(labels), jnp.result_type(labels)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"labels must be integers, the numbers of classes, got dtype {dtype}")
    if shape != (n,) or n == 0:
        raise ValueError(
            "labels must be a vector with one label for each image, one or more, "
            f"got shape {shape} for {n} images"
        )
    if is_traced(labels):
        return
    classes = jax.eval_shape(logits, params, images).shape[-1]
    values = np.asarray(labels)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, one for each class of the logits, "
            f"got {lowest if lowest < 0 else highest}"
        )


def totals(logits: Logits, params: PyTree, x: Array, y: Array) -> tuple[Array, Array]:
    """The sums over examples of the losses and of the right answers, NaN where a loss is."""
    outputs = logits(params, x)
    losses = _cross_entropies(outputs, y)
    right = (jnp.argmax(outputs, -1) == y).astype(losses.dtype)
    # argmax of NaN, or of infinities, is the first class: that is no answer.
    return jnp.sum(losses), jnp.sum(jnp.where(jnp.isnan(losses), jnp.nan, right))


def _scored(params: PyTree, total: Any, n: Any) -> Scores:
    del params
    return Scores(*(s / n for s in total))


def _with_gradient(logits: Logits, params: PyTree, x: Array, y: Array) -> Any:
    with jax.default_matmul_precision("highest"):
        return jax.value_and_grad(partial(totals, logits), has_aux=True)(params, x, y)


def _measured(params: PyTree, total: Any, n: Any) -> Measures:
    (loss, correct), gradient = total
    gradient = jax.tree.map(lambda g: g / n, gradient)
    by_array = jax.tree.map(lambda p, g: squared_norm(p) * squared_norm(g), params, gradient)
    scale_free = jax.tree.reduce(jnp.add, by_array)
    return Measures(loss / n, correct / n, squared_norm(gradient), scale_free)


scores: OverSplit[Scores] = OverSplit(totals, _scored)
"""Loss and accuracy of a whole split."""

measures: OverSplit[Measures] = OverSplit(_with_gradient, _measured)
"""Loss, accuracy, ‖∇E‖² and its scale-free form of a whole split.

With batch norm in training mode the logits depend on the part as a whole: E is then the mean of the
losses of these fixed consecutive parts.
"""


def _cut(a: Array, number: int, size: int) -> Array:
    return a[: number * size].reshape(number, size, *a.shape[1:])


def sum_over_parts(
    function: Callable[[Array, Array], Any], images: Array, labels: Array, at_once: int
) -> Any:
    """The sum of `function` over consecutive parts, of which the last may be shorter."""
    n, at_once = len(labels), check_integer("at_once", at_once, low=1)
    if n <= at_once:
        return function(images, labels)
    whole = n // at_once
    parts = _cut(images, whole, at_once), _cut(labels, whole, at_once)
    shape = jax.eval_shape(function, *(a[0] for a in parts))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    def add(total: Any, b: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(*b)), None

    total, _ = jax.lax.scan(add, zero, parts)
    if n % at_once:
        rest = function(images[whole * at_once :], labels[whole * at_once :])
        total = jax.tree.map(jnp.add, total, rest)
    return total
