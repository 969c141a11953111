"""An ensemble over several devices against one device with the same work: a model on each.

A time is that of a core for a step of a model. As many devices as there are cores run side by side,
and a step of all takes as long as a step of one; 8 devices on 2 cores take turns, and a step of all
may take four times as long, which counts as one. A ratio of 1 is no cost of having more devices.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Sequence
from dataclasses import replace

from . import trainer
from .found import Comparison, of_turns
from .machine import cores
from .problems import Problem
from .rounds import complaints, ratios, say, summary
from .workers import Competitor, Job, Turns, take_turns

COUNTS = (1, 2, 4, 8)
AIM = 1.1


def share(count: int, gpu: bool) -> float:
    """How many of `count` devices take turns on the hardware of one: 1 unless they share cores."""
    return 1.0 if gpu else count / min(count, cores())


def on_first(count: int, width: int, sizes: trainer.Sizes) -> Job:
    """An epoch of a model on each of the first `count` devices."""
    import jax

    if not sizes.gpu:
        jax.config.update("jax_num_cpu_devices", count)
    return one_each(jax.devices()[:count], width, sizes)


def one_each(devices: Sequence[object], width: int, sizes: trainer.Sizes) -> Job:
    """An epoch of a model on each of `devices`; a unit is a step of one that shares nothing."""
    count = len(devices)
    job = trainer.ensemble_on(devices, width, replace(sizes, models=count))
    return Job(job.work, job.units / count * share(count, sizes.gpu))


def competitors(width: int, sizes: trainer.Sizes, available: int) -> list[Competitor]:
    """Each number of devices: the CPU makes as many as it is asked for, of GPUs there are few."""
    counts = [count for count in COUNTS if not sizes.gpu or count <= available]
    env = trainer.on_one_thread()
    return [Competitor(_name(k), on_first, (k, width, sizes), env) for k in counts]


def report(problem: Problem, turns: Turns, gpu: bool) -> list[str]:
    """The lines that a comparison prints."""
    times = turns.times
    lines = [f"{problem}, one model on each device"]
    for name in times:
        micros = summary([1e6 * t for t in times[name]])
        lines.append(f"  {name:<12} {micros} microseconds {_for_what(gpu)}")
    one, *others = times
    for name in others:
        found = ratios(times[name], times[one])
        lines.append(f"  {found} times that of {one}: {name}; aim at most {AIM:g}")
    return [*lines, *(f"  NOISY: {line}" for line in complaints(times, turns.others))]


def compare(
    problem: Problem, sizes: trainer.Sizes, rounds: int, available: int
) -> list[Comparison]:
    """Run and print the comparison; `available` is the number of GPUs."""
    where = f"{available} GPUs" if sizes.gpu else f"{cores()} cores, which devices beyond share"
    say(f"Devices: {where}; {rounds} rounds; median (range)")
    racers = competitors(problem.width, sizes, available)
    if len(racers) < 2:
        say("SKIPPED: a single device, which has no other to be compared with")
        return []
    turns = take_turns(racers, rounds)
    for line in report(problem, turns, sizes.gpu):
        say(line)
    what = f"{problem}, {sizes.num_images:,} of them, one model on each device"
    return [of_turns("devices", what, turns, f"seconds {_for_what(sizes.gpu)}")]


def _name(count: int) -> str:
    return "one device" if count == 1 else f"{count} devices"


def _for_what(gpu: bool) -> str:
    return f"of a {'GPU' if gpu else 'core'} for a step of a model"
