"""A measure of whole splits, compiled for the models of an ensemble.

Source: Section 6 and Appendix A.5; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.measures import Logits, OverSplit
from igrlib.training import Ensemble, Variables

__all__ = ["over_split"]


def over_split(
    ensemble: Ensemble, measure: OverSplit, mode: Callable[[Variables], Logits], *, block: int
) -> Callable[[PyTree, tuple[Array, Array]], Any]:
    """`(models, split) -> measure` for a block of models, `block` examples of the split at a time.

    `mode` makes logits of a model's variables. The loop over the split is inside of the program
    where the layout has its loops there, else outside.
    """
    if ensemble.layout.loop:
        return ensemble.each(lambda v, split: measure(mode(v), v.params, *split, block=block))
    part = ensemble.each(lambda v, x, y: measure.part(mode(v), v.params, x, y))
    finish = ensemble.each(lambda v, total, n: measure.finish(v.params, total, n), num_mapped=2)
    add = jax.jit(lambda one, other: jax.tree.map(lambda a, b: a + b, one, other))

    def walk(models: PyTree, split: tuple[Array, Array]) -> Any:
        n, total = len(split[1]), None
        for begin in range(0, n, block):
            size = min(block, n - begin)
            x, y = (jax.lax.dynamic_slice_in_dim(a, begin, size) for a in split)
            summand = part(models, x, y)
            total = summand if total is None else add(total, summand)
        return finish(models, total, float(n))

    return walk
