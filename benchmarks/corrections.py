"""F_0 and F_1 of an optimizer against one gradient, in time and in memory.

Full float32 everywhere. The network is that of the paper: at width 410 it has 10⁶ parameters.

Source: `igrlib.optimizers`; chapter 11, *Other optimizers*.
"""

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from .found import Comparison, Series, of_turns
from .peak import num_params
from .problems import TURN, Problem, images_of, model_of
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, paced, take_turns

GRADIENT = "gradient"
OPTIMIZERS = ("Adam", "AdamW", "heavy ball")
AIM = 12
"""Of Adam: so many gradients, and so many copies of the parameters."""


def optimizer(name: str) -> Callable[[Any], Any]:
    import optax

    return {
        "Adam": lambda h: optax.adam(h, eps_root=1e-8),
        "AdamW": lambda h: optax.adamw(h, eps_root=1e-8, weight_decay=1e-4),
        "heavy ball": lambda h: optax.sgd(h, momentum=0.9),
    }[name]


def compiled(problem: Problem, way: str) -> tuple[Any, tuple[Any, ...]]:
    """The compiled gradient or corrections, and what they are called with."""
    import jax

    from igrlib.experiments.measures import mean_cross_entropy
    from igrlib.optimizers import optimizer_corrections

    model = model_of(problem)
    params, stats = jax.jit(model.start)(jax.random.key(0))

    def loss(params: Any, images: Any, labels: Any) -> Any:
        return mean_cross_entropy(model.training(params, stats, images)[0], labels)

    way_of = jax.grad(loss) if way == GRADIENT else optimizer_corrections(optimizer(way), loss)
    args = (params, *(jax.device_put(a) for a in images_of(problem, problem.batch_size)))
    with jax.default_matmul_precision("highest"):
        return jax.jit(way_of).lower(*args).compile(), args


def evaluate(problem: Problem, way: str) -> Job:
    """Gradients or corrections, one at a time."""
    import jax

    program, args = compiled(problem, way)

    def repeat(times: int) -> None:
        for _ in range(times):
            jax.block_until_ready(program(*args))

    return paced(repeat, TURN)


def copies(problem: Problem, way: str) -> float:
    """What the program needs beside its arguments, in copies of the parameters."""
    needed = compiled(problem, way)[0].memory_analysis()
    parameters = 4 * num_params(problem.width, problem.side)
    return (needed.temp_size_in_bytes + needed.output_size_in_bytes) / parameters


def report(problem: Problem, turns: Turns, held: Mapping[str, float]) -> list[str]:
    """The lines that the comparison prints."""
    times = turns.times
    lines = [f"{problem}, {num_params(problem.width, problem.side):,} parameters"]
    for name, seconds in times.items():
        lines.append(f"  {name:<12} {summary([1e3 * t for t in seconds])} milliseconds")
    for name in OPTIMIZERS:
        aim = f"; aim at most {AIM}" if name == "Adam" else ""
        lines.append(f"  {ratios(times[name], times[GRADIENT])} gradients: {name}{aim}")
    for name, count in held.items():
        aim = f"; aim at most {AIM}" if name == "Adam" else ""
        lines.append(f"  {count:.1f} copies of the parameters: {name}{aim}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(problem: Problem, rounds: int) -> list[Comparison]:
    """Run and print the comparison."""
    say(f"F_0 and F_1 of an optimizer: {rounds} rounds; median (range)")
    ways = (GRADIENT, *OPTIMIZERS)
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    turns = take_turns([Competitor(way, evaluate, (problem, way), env) for way in ways], rounds)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        held: dict[str, float] = dict(
            zip(ways, pool.map(copies, [problem] * len(ways), ways), strict=True)
        )
    for line in report(problem, turns, held):
        say(line)
    memory = [Series(way, "copies of the parameters", [count]) for way, count in held.items()]
    return [
        of_turns("corrections", problem, turns, "seconds"),
        Comparison("corrections", f"{problem}, memory", memory),
    ]
