"""One unit of a sweep: train an ensemble, measure it on the way, and look closely at the end.

A `Sweep` moves in short strides between measurements and can stop after each of them. From a
checkpoint it goes on to the same bits. `igrlib.experiments.schema` lists what it records.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from igrlib._typing import PyTree
from igrlib.experiments import checkpoint
from igrlib.experiments.ensemble import Ensemble, State
from igrlib.experiments.evaluation import Evaluation, Splits
from igrlib.experiments.job import Job
from igrlib.experiments.log import Log, Schedule
from igrlib.experiments.networks.model import Model
from igrlib.experiments.records import RecordError
from igrlib.experiments.schema import POINTS

__all__ = ["Sweep"]

STRIDE = 2.0
"""Seconds between two looks at the clock."""


class Sweep(Job):
    """Trains an ensemble of copies of `model` and logs their measurements.

    ensemble: the models and their steps; splits: the images and labels for measurements; schedule:
    the steps at which to measure; evaluation: what to measure.

    Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
    """

    ensemble: Ensemble
    schedule: Schedule
    log: Log
    step: int
    tasks_done: int
    seconds: float
    state: State

    def __init__(
        self,
        model: Model,
        ensemble: Ensemble,
        splits: Splits,
        schedule: Schedule,
        evaluation: Evaluation,
    ) -> None:
        self.ensemble, self.schedule = ensemble, schedule
        self.step, self.tasks_done = 0, 0
        self.state = ensemble.init()
        self.log = Log(model, ensemble, splits, schedule, evaluation, self.state.variables)

    def _pieces(self) -> Iterator[tuple[int, str]]:
        stops = self.ensemble.members.stops
        stride = 16
        for at in self.schedule.scores:
            while self.step < at:
                last = min(self.step + stride, at)
                began = time.monotonic()
                self.state = jax.block_until_ready(
                    self.ensemble.advance(self.state, self.step, last)
                )
                took = max(time.monotonic() - began, 1e-4)
                # At most double the stride: the first call also compiles, so its time says little.
                stride = max(1, int(min(2 * stride, (last - self.step) * STRIDE / took)))
                self.step = last
                yield sum(min(last, s) for s in stops), "training"
            if self.step == at and not self.log.has(at):
                self.log.measure(self.state, at)
                yield sum(min(at, s) for s in stops), "measuring"
        self.state = self.log.ended(self.state)
        tasks = [(p, members) for p in POINTS for members in self.log.reached(self.state, p)]
        for number, (point, members) in enumerate(tasks):
            if number >= self.tasks_done:
                self.log.look_closely(self.state, point, members)
                self.tasks_done = number + 1
                yield sum(stops), f"a close look, {number + 1} of {len(tasks)}"

    def _finished(self) -> dict[str, np.ndarray]:
        self.log.arrays["diverged"] = self.log.host(self.state.diverged)
        return self.log.arrays

    def _held(self) -> PyTree:
        return {"state": self.state, "chosen": self.log.chosen}

    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        progress = {"step": self.step, "tasks_done": self.tasks_done, "seconds": self.seconds}
        checkpoint.save(path, self._held(), self.log.arrays, progress, identity)

    def _restore(self, path: Path, identity: dict[str, Any]) -> None:
        held, arrays, progress = checkpoint.restore(path, self._held(), self.log.arrays, identity)
        self._check_progress(path, progress, arrays["score_done"])
        held = self.ensemble.lay(held)
        self.state, self.log.chosen, self.log.arrays = held["state"], held["chosen"], arrays
        self.step, self.tasks_done = progress["step"], progress["tasks_done"]
        self.seconds = progress["seconds"]

    def _check_progress(self, path: Path, progress: dict[str, Any], done: np.ndarray) -> None:
        """Refuse a checkpoint whose step does not match its measurements."""
        step, tasks, seconds = (progress.get(name) for name in ("step", "tasks_done", "seconds"))
        scores = np.asarray(self.schedule.scores)
        counts = all(type(number) is int and number >= 0 for number in (step, tasks))
        if not (
            counts
            and isinstance(seconds, (int, float))
            and done[scores < step].all()
            and not done[scores > step].any()
            and step <= scores[-1]
            and (tasks == 0 or done.all())
        ):
            raise RecordError(
                f"the checkpoint {path.name} must have a progress that matches its measurements, "
                f"got {progress}: move the file away to start again"
            )
