"""A step on E + μ‖∇E‖² against a plain one, by the method; PyTorch's double backward beside them.

Full float32 everywhere.

Source: eq. (8); chapter 9, *Explicit regularization*.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from . import pytorch
from .found import Comparison, of_turns
from .problems import RATE, TURN, Problem, images_of, model_of
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, paced, take_turns

MU = 1e-3
PLAIN = "plain"
METHODS = ("forward_over_reverse", "finite_difference", "reverse_over_reverse")
TORCH, DOUBLE = "PyTorch, plain", "PyTorch, double backward"
AIMS = {"forward_over_reverse": 3.2, "finite_difference": 2.3}


def value_and_grad(model: Any, way: str) -> Callable[..., Any]:
    """`(params, stats, images, labels) -> ((E_μ, stats), gradient)`; E alone for `PLAIN`."""
    import jax

    from igrlib import gradient_regularized_value_and_grad
    from igrlib.experiments.measures import mean_cross_entropy

    def loss(params: Any, stats: Any, x: Any, y: Any) -> Any:
        outputs, after = model.training(params, stats, x)
        return mean_cross_entropy(outputs, y), after

    if way == PLAIN:
        found = jax.value_and_grad(loss, has_aux=True)
    else:
        found = gradient_regularized_value_and_grad(loss, MU, method=way, has_aux=True)

    def in_full(*args: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return found(*args)

    return in_full


def step(problem: Problem, way: str) -> Job:
    """A step of one model on one batch, compiled and called one at a time."""
    import jax

    model = model_of(problem)
    images, labels = (jax.device_put(a) for a in images_of(problem, problem.batch_size))
    gradient_of = value_and_grad(model, way)

    @partial(jax.jit, donate_argnums=0)
    def one(variables: Any, images: Any, labels: Any) -> Any:
        params, stats = variables
        (_, stats), gradient = gradient_of(params, stats, images, labels)
        return jax.tree.map(lambda p, g: p - RATE * g, params, gradient), stats

    variables = tuple(jax.jit(model.start)(jax.random.key(0)))

    def train(num_steps: int) -> None:
        nonlocal variables
        for _ in range(num_steps):
            variables = one(variables, images, labels)
        jax.block_until_ready(variables)

    return paced(train, TURN)


def competitors(problem: Problem, gpu: bool) -> list[Competitor]:
    """The plain step, the methods, and PyTorch's two with its plain step's best threads."""
    # Several processes share a GPU.
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    found = [Competitor(way, step, (problem, way), env) for way in (PLAIN, *METHODS)]
    if pytorch.missing(gpu) is None:
        plain = partial(pytorch.competitor, TORCH, pytorch.step, (problem, 0.0), gpu)
        threads = pytorch.best_threads(plain)
        double = pytorch.competitor(DOUBLE, pytorch.step, (problem, MU), gpu, threads)
        found += [plain(threads), double]
    return found


def report(problem: Problem, turns: Turns) -> list[str]:
    """The lines that a comparison prints."""
    times, lines = turns.times, [str(problem)]
    for name, seconds in times.items():
        lines.append(f"  {name:<36} {summary([1e6 * t for t in seconds])} microseconds a step")
    for name, seconds in times.items():
        if name in METHODS:
            aim = f"; aim at most {AIMS[name]:g}" if name in AIMS else ""
            lines.append(f"  {ratios(seconds, times[PLAIN])} times a plain step: {name}{aim}")
        elif name.startswith(DOUBLE):
            plain = times[name.replace(DOUBLE, TORCH)]
            lines.append(f"  {ratios(seconds, plain)} times PyTorch's plain step: {name}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(problems: Sequence[Problem], rounds: int, gpu: bool) -> list[Comparison]:
    """Run and print the comparison for each problem."""
    where = "GPU" if gpu else "CPU"
    say(f"A step on E + μ‖∇E‖² on the {where}: {rounds} rounds; median (range)")
    if lacking := pytorch.missing(gpu):
        say(f"SKIPPED: {lacking}")
    found = []
    for problem in problems:
        turns = take_turns(competitors(problem, gpu), rounds)
        for line in report(problem, turns):
            say(line)
        found.append(of_turns("egr", problem, turns, "seconds a step"))
    return found
