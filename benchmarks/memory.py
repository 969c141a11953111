"""Temporary memory of a gradient of E + μ‖∇E‖², by the method, against that of a plain gradient.

The gradient that is returned is not temporary. A further one on the way to it is, and outweighs
what is kept of the layers where a batch is small beside the network.

Source: eq. (8); chapter 9, *Explicit regularization*.
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from .found import Comparison, Series
from .problems import Problem, model_of
from .regularized import METHODS, PLAIN, value_and_grad
from .rounds import say


def temporary_bytes(problem: Problem, way: str) -> int:
    """What the compiled gradient needs beside its arguments and results; nothing is run."""
    import jax

    model = model_of(problem)
    variables = jax.eval_shape(model.start, jax.eval_shape(lambda: jax.random.key(0)))
    n, side = problem.batch_size, problem.side
    images = jax.ShapeDtypeStruct((n, side, side, problem.channels), np.uint8)
    labels = jax.ShapeDtypeStruct((n,), np.int32)
    program = jax.jit(value_and_grad(model, way)).lower(*variables, images, labels).compile()
    return program.memory_analysis().temp_size_in_bytes


def report(problem: Problem, needed: Mapping[str, int]) -> list[str]:
    """The lines that a comparison prints; `needed` in bytes."""
    lines = [str(problem), f"  {needed[PLAIN] / 2**20:,.2f} MiB for a plain gradient"]
    for method in METHODS:
        lines.append(f"  {needed[method] / needed[PLAIN]:.2f} times as much: {method}")
    return lines


def compare(problems: Sequence[Problem]) -> list[Comparison]:
    """Compile and print the comparison for each problem: exact, and the same in every round."""
    say("Temporary memory of a gradient of E + μ‖∇E‖², as the compiler counts it")
    found = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for problem in problems:
            ways = (PLAIN, *METHODS)
            took = pool.map(temporary_bytes, [problem] * len(ways), ways)
            needed = dict(zip(ways, took, strict=True))
            for line in report(problem, needed):
                say(line)
            series = [Series(way, "bytes", [count]) for way, count in needed.items()]
            found.append(Comparison("memory", str(problem), series))
    return found
