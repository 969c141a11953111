"""Ways to lay several models of ResNet-18 over a device: together or one by one, loop or steps.

Source: Appendix A.5, Figures A.7 and A.8; chapter 8, *ResNet-18*.
"""

from functools import partial

from .found import Comparison, of_turns
from .problems import RATE, TURN, Problem, images_of, model_of
from .residual import BATCHES
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, paced, take_turns

MODELS = 4
WAYS = {
    f"{'together' if group > 1 else 'one by one'}, {'in a loop' if loop else 'step by step'}": (
        group,
        loop,
    )
    for group in (1, MODELS)
    for loop in (True, False)
}


def way(problem: Problem, group: int, loop: bool) -> Job:
    """Steps of all models on one device, `group` of them batched; a unit is a step of a model."""
    import jax
    import numpy as np
    from jax.sharding import Mesh

    from igrlib.experiments.ensemble import Ensemble, Layout, Members
    from igrlib.experiments.measures import training_loss

    mesh = Mesh(np.array(jax.devices()[:1]), ("models",))
    model = model_of(problem)
    trained = Ensemble(
        training_loss(model),
        model.start,
        Members.grid((RATE,), seeds=range(MODELS), stop=2**31 - 1),
        images_of(problem, BATCHES * problem.batch_size),
        batch_size=problem.batch_size,
        layout=Layout(mesh, group=group, loop=loop),
    )
    state, at = trained.init(), 0

    def repeat(num_steps: int) -> None:
        nonlocal state, at
        state = jax.block_until_ready(trained.advance(state, at, at + num_steps))
        at += num_steps

    steps = paced(repeat, TURN)
    return Job(steps.work, steps.units * MODELS)


def competitors(problem: Problem) -> list[Competitor]:
    """All four ways."""
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return [Competitor(name, partial(way, problem, *how), (), env) for name, how in WAYS.items()]


def report(problem: Problem, turns: Turns) -> list[str]:
    """The lines that a comparison prints, the quickest way first."""
    times, lines = turns.times, [f"{problem}, {MODELS} models"]
    ways = sorted(times, key=lambda name: summary(times[name]).median)
    for name in ways:
        of_a_step = summary([1e3 * t for t in times[name]])
        lines.append(f"  {name:<26} {of_a_step} milliseconds for a step of a model")
    for name in ways[1:]:
        lines.append(f"  {ratios(times[name], times[ways[0]])} times as long as that: {name}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(problem: Problem, rounds: int) -> list[Comparison]:
    """Run and print the comparison."""
    say(f"Layouts of an ensemble on one device: {rounds} rounds; median (range)")
    turns = take_turns(competitors(problem), rounds)
    for line in report(problem, turns):
        say(line)
    what = f"{problem}, {MODELS} models"
    return [of_turns("layouts", what, turns, "seconds for a step of a model")]
