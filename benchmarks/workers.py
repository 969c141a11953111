"""Each thing that is compared lives in a process of its own and works when it is its turn.

So each has the flags and threads that suit it, and none is disturbed by another's libraries. This
process imports none of them.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

PAUSE = 0.05
"""Seconds between turns, in which the threads of the last one stop looking for work."""


class Job(NamedTuple):
    """`work()` does `units` of work and returns when they are done; it is compiled and warm."""

    work: Callable[[], Any]
    units: float = 1


def paced(repeat: Callable[[int], Any], turn: float) -> Job:
    """`repeat(n)`, n units of work, with as many as fill a turn of so many seconds."""
    repeat(1)  # The first one compiles.
    seconds: list[float] = []
    while not seconds or (len(seconds) < 3 and sum(seconds) < 1):
        began = time.perf_counter()
        repeat(1)
        seconds.append(time.perf_counter() - began)
    units = max(1, round(turn / min(seconds)))
    return Job(partial(repeat, units), units)


@dataclass(frozen=True)
class Competitor:
    """`make(*args)` sets the work up, in a process whose environment has `env` in it."""

    name: str
    make: Callable[..., Job]
    args: tuple[Any, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class Turns(NamedTuple):
    """Seconds for a unit of work, and the share of the machine others took, round by round."""

    times: dict[str, list[float]]
    others: dict[str, list[float | None]]


def take_turns(competitors: Sequence[Competitor], rounds: int) -> Turns:
    """All competitors in turn, `rounds` times."""
    turns = Turns({c.name: [] for c in competitors}, {c.name: [] for c in competitors})
    with ExitStack() as stack:
        # One after another: setting up must not disturb a competitor that looks for its pace.
        workers = {c.name: stack.enter_context(_worker(c)) for c in competitors}
        for _ in range(rounds):
            for name, connection in workers.items():
                time.sleep(PAUSE)
                before = machine_seconds()
                connection.send("go")
                seconds, processor, units = _answer(name, connection)
                after = machine_seconds()
                turns.times[name].append(seconds / units)
                turns.others[name].append(others_share(before, after, processor))
    return turns


def machine_seconds(stat: Path = Path("/proc/stat")) -> tuple[float, float] | None:
    """Seconds the machine's cores have been at work, and all there were; None where unknown.

    Time that a host took away from a virtual machine counts as work, of others.
    """
    try:
        ticks = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    rate = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / rate, sum(ticks) / rate


def others_share(
    before: tuple[float, float] | None, after: tuple[float, float] | None, own: float
) -> float | None:
    """The share of the machine, 0 to 1, that was at work between two looks, less `own` seconds."""
    if before is None or after is None or after[1] <= before[1]:
        return None
    return max(after[0] - before[0] - own, 0.0) / (after[1] - before[1])


@contextmanager
def _worker(competitor: Competitor) -> Any:
    """A process that has set up the work of a competitor and waits for its turn."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve, args=(there, competitor.make, competitor.args), daemon=True
    )
    saved = dict(os.environ)
    os.environ.update(competitor.env)
    try:
        process.start()
    finally:
        os.environ.clear()
        os.environ.update(saved)
    there.close()
    try:
        _answer(competitor.name, here)
        yield here
    finally:
        here.close()
        process.join(5)
        process.kill()


def _answer(name: str, connection: Connection) -> tuple[float, float, float]:
    try:
        answer = connection.recv()
    except EOFError:
        raise RuntimeError(f"{name}: its process ended") from None
    if isinstance(answer, str):
        raise RuntimeError(f"{name}: {answer}")
    return answer


def _serve(connection: Connection, make: Callable[..., Job], args: tuple[Any, ...]) -> None:
    try:
        job = make(*args)
        connection.send((0.0, 0.0, job.units))
        while connection.recv() == "go":
            began, processor = time.perf_counter(), time.process_time()
            job.work()
            spent = time.perf_counter() - began
            connection.send((spent, time.process_time() - processor, job.units))
    except (EOFError, BrokenPipeError):  # The other side has heard enough.
        return
    except Exception as error:
        connection.send(f"{type(error).__name__}: {error}")
