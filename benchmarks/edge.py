"""The flows at the edge of stability against one gradient: what a time h of each costs.

Full batch, float32. The network has the layers of the paper's, and tanh: at the kinks of ReLU the
solvers of flows take as many steps as there are kinks.

Source: `igrlib.edge`; chapter 10, *The edge of stability*.
"""

from collections.abc import Callable
from typing import Any

from .found import Comparison, of_turns
from .peak import num_params
from .problems import TURN, Problem, images_of
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, paced, take_turns

GRADIENT = "gradient"
FIELD = "principal field"
SHARES = {
    "gradient flow": 0.5,
    "rod flow": 0.5,
    "rod flow at the edge": 0.98,
    "central flow": 0.5,
    "central flow at the edge": 0.98,
}
"""What runs for a time, and hλ_max/2 where it starts."""

DIRECTIONS = 4
SPAN = 8
"""Of steps h; the gradient's are single ones."""


def program(problem: Problem, way: str) -> Callable[[], Any]:
    """A call of what is compared, for the networks at their start."""
    import jax
    import jax.numpy as jnp

    import igrlib as ig
    from igrlib.experiments.measures import mean_cross_entropy

    images, labels = (jax.device_put(a) for a in images_of(problem, problem.batch_size))
    images = images.reshape(problem.batch_size, -1) / jnp.float32(255)
    sizes = [images.shape[1], *[problem.width] * 5, 10]
    keys = jax.random.split(jax.random.key(0), len(sizes))
    params = [
        (jax.random.normal(key, (m, n), jnp.float32) / m**0.5, jnp.zeros(n, jnp.float32))
        for key, m, n in zip(keys, sizes, sizes[1:], strict=False)
    ]

    def loss(params: Any, images: Any, labels: Any) -> Any:
        outputs = images
        for weights, biases in params[:-1]:
            outputs = jnp.tanh(outputs @ weights + biases[None])
        return mean_cross_entropy(outputs @ params[-1][0] + params[-1][1][None], labels)

    if way == GRADIENT:
        gradient = jax.jit(jax.grad(loss))
        return lambda: gradient(params, images, labels)
    largest = ig.curvature.largest_hessian_eigenvalue(loss, num_matvecs=40)
    value = jax.jit(largest)(params, images, labels).value
    h = 2 * SHARES.get(way, 0.5) / float(value)
    if way == FIELD:
        field = jax.jit(ig.edge.principal_field(loss, h, num_directions=DIRECTIONS))
        return lambda: field(params, images, labels)
    times = jnp.array([0, SPAN * h])

    def run() -> Any:
        if way == "gradient flow":
            return ig.flow(ig.gradient_field(loss), params, times, images, labels)
        if way.startswith("rod"):
            return ig.edge.rod_flow(loss, params, h, times, images, labels)
        return ig.edge.central_flow(
            loss, params, h, times, images, labels, num_directions=DIRECTIONS
        )

    return run


def evaluate(problem: Problem, way: str) -> Job:
    """Gradients or fields, one at a time, or flows for `SPAN` steps."""
    import jax

    call = program(problem, way)

    def repeat(times: int) -> None:
        for _ in range(times):
            jax.block_until_ready(call())

    job = paced(repeat, TURN)
    return job._replace(units=job.units * (SPAN if way in SHARES else 1))


def report(problem: Problem, turns: Turns) -> list[str]:
    """The lines that the comparison prints."""
    times = turns.times
    lines = [f"{problem}, {num_params(problem.width, problem.side):,} parameters"]
    for name, seconds in times.items():
        lines.append(f"  {name:<24} {summary([1e3 * t for t in seconds])} milliseconds")
    for name in times:
        if name != GRADIENT:
            what = "for a time h" if name in SHARES else "for one value"
            lines.append(f"  {ratios(times[name], times[GRADIENT])} gradients {what}: {name}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(problem: Problem, rounds: int) -> list[Comparison]:
    """Run and print the comparison."""
    say(f"Flows at the edge, {DIRECTIONS} directions: {rounds} rounds; median (range)")
    ways = (GRADIENT, FIELD, *SHARES)
    turns = take_turns([Competitor(way, evaluate, (problem, way)) for way in ways], rounds)
    for line in report(problem, turns):
        say(line)
    return [of_turns("edge", problem, turns, "seconds")]
