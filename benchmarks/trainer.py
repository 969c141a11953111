"""The ensemble trainer against a PyTorch loop, a JAX loop and the peak of a matrix product.

Source: Section 6; chapter 7, *MNIST*.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from . import peak, peers, pytorch
from .found import Comparison, of_turns
from .machine import cores
from .problems import RATE, Problem, synthetic
from .rounds import Summary, complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, take_turns

ENSEMBLE, JAX_LOOP, TORCH = "igrlib ensemble", "JAX, a step at a time", "PyTorch"
PRODUCTS = ("matrix product, NumPy", "matrix product, JAX")
TORCH_AIMS = {50: 4.0, 100: 4.0, 200: 2.5, 400: 1.6}
PEAK_AIMS = {200: 0.5, 400: 0.5}
GPU_AIM = 10.0
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
GRAPH = "--xla_gpu_enable_command_buffer=+WHILE"
ON_A_GPU: dict[str, tuple[int | None, dict[str, str]]] = {
    "TF32": (None, {"JAX_DEFAULT_MATMUL_PRECISION": "default"}),
    "a loop of unknown length": (1, {}),
    "a CUDA graph of the loop": (None, {"XLA_FLAGS": GRAPH}),
    "a CUDA graph, unrolled": (
        None,
        {"XLA_FLAGS": f"{GRAPH} --xla_gpu_command_buffer_unroll_loops=true"},
    ),
}
"""Variants of the ensemble: steps in a chunk, None as the trainer takes them, and variables."""
# Several processes share a GPU; full float32, which a CPU has in any case.
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}


@dataclass(frozen=True)
class Sizes:
    """What is trained: a whole epoch of `num_images // batch_size` steps in each turn."""

    models: int = 8
    batch_size: int = 32
    num_images: int = 55_000
    side: int = 28
    gpu: bool = False


def on_one_thread() -> dict[str, str]:
    """The environment of an ensemble: a thread for each device, and room for others on a GPU."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    return {**SHARED, "XLA_FLAGS": flags}


def ensemble(width: int, sizes: Sizes, chunk: int | None = None) -> Job:
    """An epoch of all models in igrlib; a unit of work is a step of a model."""
    import jax

    if not sizes.gpu:
        jax.config.update("jax_num_cpu_devices", min(cores(), 2))
    return ensemble_on(jax.devices(), width, sizes, chunk)


def ensemble_on(
    devices: Sequence[object], width: int, sizes: Sizes, chunk: int | None = None
) -> Job:
    from jax.sharding import Mesh

    from igrlib.experiments.ensemble import Ensemble, Layout, Members
    from igrlib.experiments.ensemble.members import CHUNK
    from igrlib.experiments.measures import cross_entropy

    mesh = Mesh(np.array(devices), ("models",))
    count = sizes.models
    # A CPU takes one model after another on each core, a GPU all of its models at once.
    group, steps = (-(-count // mesh.size), CHUNK) if sizes.gpu else (1, 1)
    layout = Layout(mesh, group=group, chunk=chunk or steps)
    members = Members.grid((RATE,), seeds=range(count), stop=2**31 - 1)
    data = synthetic(sizes.num_images, sizes.side)
    start, logits = peers.network(width, sizes.side)
    loss = cross_entropy(logits)
    return epochs(Ensemble(loss, start, members, data, batch_size=sizes.batch_size, layout=layout))


def epochs(trainer: Any) -> Job:
    """An epoch of all models of an `igrlib.experiments.ensemble.Ensemble`."""
    import jax

    steps = trainer.steps_per_epoch
    state = trainer.advance(trainer.init(), 0, min(steps, 10))
    epoch = 0

    def work() -> None:
        nonlocal state, epoch
        # Whole epochs, so that each order is made once.
        epoch += 1
        state = jax.block_until_ready(trainer.advance(state, epoch * steps, (epoch + 1) * steps))

    return Job(work, steps * len(trainer.members))


def competitors(width: int, sizes: Sizes, threads: int | None) -> list[Competitor]:
    """All that are compared at a width, PyTorch with `threads` threads or left out."""
    data = (width, sizes.batch_size, sizes.num_images, sizes.side)
    ours = on_one_thread()
    found = [Competitor(ENSEMBLE, ensemble, (width, sizes), ours)]
    for name, (chunk, change) in ON_A_GPU.items() if sizes.gpu else ():
        args = (width, sizes, chunk)
        found.append(Competitor(f"{ENSEMBLE}, {name}", ensemble, args, {**ours, **change}))
    if threads is not None:
        found += [in_pytorch(width, sizes, way, threads) for way in (False, True)]
    found.append(Competitor(JAX_LOOP, peers.jax_loop, data, SHARED))
    if not sizes.gpu:
        found.append(Competitor(PRODUCTS[0], peak.numpy_product, (2048,)))
    found.append(Competitor(PRODUCTS[1], peak.jax_product, (8192 if sizes.gpu else 2048,), SHARED))
    return found


def in_pytorch(width: int, sizes: Sizes, compiled: bool, threads: int) -> Competitor:
    """The PyTorch loop with so many threads."""
    problem = Problem("mlp", width, sizes.batch_size, sizes.side)
    name = pytorch.COMPILED if compiled else TORCH
    args = (problem, sizes.num_images, compiled)
    return pytorch.competitor(name, pytorch.loop, args, sizes.gpu, threads)


def best_threads(width: int, sizes: Sizes) -> int | None:
    """PyTorch's best number of threads, tried for a moment; None where it is not compared."""
    if pytorch.missing(sizes.gpu) is not None:
        return None
    short = replace(sizes, num_images=min(sizes.num_images, 100 * sizes.batch_size))
    return pytorch.best_threads(partial(in_pytorch, width, short, False))


def report(width: int, sizes: Sizes, turns: Turns) -> list[str]:
    """The lines that a comparison prints."""
    times = turns.times
    steps = [name for name in times if name not in PRODUCTS]
    product = min(set(times) - set(steps), key=lambda name: statistics.median(times[name]))
    lines = [f"width {width}, {peak.num_params(width, sizes.side):,} parameters"]
    for name in steps:
        micros = summary([1e6 * t for t in times[name]])
        lines.append(f"  {name:<28} {micros} microseconds a step and model")
    lines.append(f"  {product:<28} {summary([1e-9 / t for t in times[product]])} GFLOP/s")
    for rival in steps[1:]:
        won = ratios(times[rival], times[ENSEMBLE])
        lines.append(_line(f"times as fast as {rival}", won, _aim(rival, width, sizes)))
    lines.append(
        _line("of the peak", peak_share(width, sizes, times, product), _peak_aim(width, sizes))
    )
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def peak_share(
    width: int, sizes: Sizes, times: Mapping[str, Sequence[float]], product: str
) -> Summary:
    """FLOP a second of the ensemble over those of the matrix product of the same round."""
    needed = peak.flop(width, sizes.batch_size, sizes.side)
    return ratios(times[product], [t / needed for t in times[ENSEMBLE]])


def compare(widths: Sequence[int], sizes: Sizes, rounds: int) -> list[Comparison]:
    """Run and print the comparison at each width."""
    say(
        f"Trainer on the {'GPU' if sizes.gpu else 'CPU'}: {sizes.models} models, batch "
        f"{sizes.batch_size}, {sizes.num_images:,} images; {rounds} rounds; median (range)"
    )
    if lacking := pytorch.missing(sizes.gpu):
        say(f"SKIPPED: {lacking}")
    found, products = [], dict.fromkeys(PRODUCTS, "seconds a multiplication or addition")
    for width in widths:
        turns = take_turns(competitors(width, sizes, best_threads(width, sizes)), rounds)
        for line in report(width, sizes, turns):
            say(line)
        network = Problem("mlp", width, sizes.batch_size, sizes.side)
        what = f"{network}, {sizes.num_images:,} of them, {sizes.models} models"
        found.append(of_turns("trainer", what, turns, "seconds for a step of a model", products))
    return found


def _aim(rival: str, width: int, sizes: Sizes) -> float | None:
    if sizes.gpu:
        return None if rival.startswith(ENSEMBLE) else GPU_AIM
    return TORCH_AIMS.get(width) if rival.startswith(TORCH) else None


def _peak_aim(width: int, sizes: Sizes) -> float | None:
    return None if sizes.gpu else PEAK_AIMS.get(width)


def _line(what: str, found: Summary, aim: float | None) -> str:
    return f"  {found} {what}" + (f"; aim {aim:g}" if aim is not None else "")
