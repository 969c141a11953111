"""A plain training step of ResNet-18 in igrlib against PyTorch's, both in full float32.

Source: Appendix A.5, Figures A.7 and A.8; chapter 8, *ResNet-18*.
"""

from functools import partial

from . import pytorch, trainer
from .found import Comparison, of_turns
from .problems import RATE, Problem, images_of, model_of, unit_of
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, take_turns

IGRLIB, TORCH = "igrlib", "PyTorch"
BATCHES = 20
"""Steps in each turn, an epoch of as many whole batches."""


def sweep(problem: Problem, num_images: int) -> Job:
    """An epoch of one model, laid out as a sweep does; a unit of work is a step."""
    from igrlib.experiments.ensemble import Ensemble, Members
    from igrlib.experiments.layouts import layout_of
    from igrlib.experiments.measures import training_loss

    model = model_of(problem)
    trained = Ensemble(
        training_loss(model),
        model.start,
        Members.grid((RATE,), seeds=(0,), stop=2**31 - 1),
        images_of(problem, num_images),
        batch_size=problem.batch_size,
        layout=layout_of(unit_of(problem)),
    )
    return trainer.epochs(trained)


def competitors(problem: Problem, gpu: bool) -> list[Competitor]:
    """igrlib, and PyTorch with its best number of threads, as it is and compiled."""
    num_images = BATCHES * problem.batch_size
    env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    found = [Competitor(IGRLIB, sweep, (problem, num_images), env)]
    if pytorch.missing(gpu) is None:
        plain, compiled = (
            partial(pytorch.competitor, name, pytorch.loop, (problem, num_images, way), gpu)
            for name, way in ((TORCH, False), (pytorch.COMPILED, True))
        )
        threads = pytorch.best_threads(plain)
        found += [plain(threads), compiled(threads)]
    return found


def report(problem: Problem, turns: Turns) -> list[str]:
    """The lines that a comparison prints."""
    times, lines = turns.times, [str(problem)]
    for name, seconds in times.items():
        lines.append(f"  {name:<28} {summary([1e3 * t for t in seconds])} milliseconds a step")
    for name in times:
        if name != IGRLIB:
            lines.append(f"  {ratios(times[name], times[IGRLIB])} times as fast as {name}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(problem: Problem, rounds: int, gpu: bool) -> list[Comparison]:
    """Run and print the comparison."""
    where = "GPU" if gpu else "CPU"
    say(f"A training step of ResNet-18 on the {where}: {rounds} rounds; median (range)")
    if lacking := pytorch.missing(gpu):
        say(f"SKIPPED: {lacking}")
    turns = take_turns(competitors(problem, gpu), rounds)
    for line in report(problem, turns):
        say(line)
    return [of_turns("resnet", problem, turns, "seconds a step")]
