"""One unit of a sweep: an ensemble trained, measured on the way, and measured closely at the end.

A `Sweep` moves in short strides between measurements, may be stopped after any of them, and goes on
from a checkpoint to the same bits. It knows nothing of the command line; the model and the data are
given to it. Names of the arrays it returns: `ARRAYS`.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib import records
from igrlib._trees import squared_norm
from igrlib._typing import PyTree
from igrlib.experiments.closeup import CloseUp
from igrlib.measures import measures, scores
from igrlib.training.ensemble import Ensemble, State

__all__ = ["POINTS", "Schedule", "Splits", "Stopped", "Sweep"]

POINTS = ("validation", "test", "final")
"""Where each model is looked at closely: its best validation accuracy, test accuracy, its end."""

STRIDE = 2.0
"""Seconds between two looks at the clock."""


class Stopped(Exception):
    """The sweep was asked to stop; its checkpoint is written."""


class Splits(NamedTuple):
    """Images and labels by split, on the devices; `validation` may be None."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array]


@dataclass(frozen=True)
class Schedule:
    """The steps at which accuracies, and gradients, are measured.

    Sorted; `gradients` is among `scores`, because both are wanted of the same parameters.
    `levels`: the training losses at whose first crossing a model is looked at closely, falling.
    """

    scores: tuple[int, ...]
    gradients: tuple[int, ...]
    levels: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)

    def __post_init__(self) -> None:
        for name in ("scores", "gradients"):
            steps = getattr(self, name)
            if not steps or list(steps) != sorted(set(steps)) or steps[0] < 0:
                raise ValueError(f"{name} must be steps in rising order, got {steps}")
        if not set(self.gradients) <= set(self.scores):
            strays = sorted(set(self.gradients) - set(self.scores))
            raise ValueError(f"gradients must be among scores, got {strays} besides")
        if list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(f"levels must be in falling order, got {self.levels}")


class Sweep:
    """Trains the models of `ensemble` and fills `arrays`, NaN where nothing was measured."""

    def __init__(
        self, ensemble: Ensemble, splits: Splits, schedule: Schedule, closeup: CloseUp
    ) -> None:
        self.ensemble, self.splits, self.schedule, self.closeup = (
            ensemble,
            splits,
            schedule,
            closeup,
        )
        self.step, self.tasks_done, self.seconds = 0, 0, 0.0
        self.state = ensemble.init()
        self.chosen = {name: self._copy(self.state.params) for name in POINTS[:2]}
        members, logits = ensemble.members, ensemble.classifier.logits
        self.arrays = _empty(len(members), schedule, closeup, splits.validation is not None)
        self.arrays |= {
            "learning_rate": np.asarray(members.learning_rates),
            "seed": np.asarray(members.seeds),
            "mu": np.asarray(members.mus),
            "stop": np.asarray(members.stops),
        }
        self._scores = ensemble.each(lambda p, split: scores(logits, p, *split))
        self._measures = ensemble.each(lambda p, split: measures(logits, p, *split))
        self._norm = ensemble.each(lambda p: jnp.sqrt(squared_norm(p)))
        self._closeup = closeup.compiled(ensemble)

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        identity: dict[str, Any] | None = None,
        every: float = 300.0,
        asked_to_stop: Callable[[], bool] = lambda: False,
        progress: Callable[[int, str], None] = lambda done, what: None,
    ) -> dict[str, np.ndarray]:
        """The arrays of the finished sweep.

        Goes on from `checkpoint` where that exists, writes it every `every` seconds and when
        `asked_to_stop`, and then raises `Stopped`. `progress(done, what)` hears of steps of single
        models. Raises `RecordError` for a checkpoint that is damaged or was written for another
        `identity`.
        """
        if checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint, identity or {})
        written = began = time.monotonic()
        before = self.seconds
        for done, what in self._strides():
            progress(done, what)
            self.seconds = before + time.monotonic() - began
            if checkpoint is not None and (asked_to_stop() or time.monotonic() - written > every):
                self._save(checkpoint, identity or {})
                written = time.monotonic()
            if asked_to_stop():
                raise Stopped
        self.arrays["diverged"] = self._host(self.state.diverged)
        return self.arrays

    @property
    def model_steps(self) -> int:
        """Steps of single models in the whole sweep."""
        return sum(self.ensemble.members.stops)

    def _strides(self) -> Iterator[tuple[int, str]]:
        """Do the work piece by piece; between two pieces everything is in `self`."""
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
                # At most twice as many as before: the first call compiles.
                stride = max(1, int(min(2 * stride, (last - self.step) * STRIDE / took)))
                self.step = last
                yield sum(min(last, s) for s in stops), "training"
            if self.step == at and not self._measured(at):
                self._measure(at)
                yield sum(min(at, s) for s in stops), "measuring"
        tasks = [(p, b) for p in POINTS for b in self._blocks_of(p)]
        for number, (point, block) in enumerate(tasks):
            if number >= self.tasks_done:
                self._look_closely(point, block)
                self.tasks_done = number + 1
                yield sum(stops), f"a close look, {number + 1} of {len(tasks)}"

    def _measured(self, at: int) -> bool:
        return bool(self.arrays["score_done"][self.schedule.scores.index(at)])

    def _alive(self, at: int) -> np.ndarray:
        """Models that reached step `at` and are finite."""
        diverged = self._host(self.state.diverged)
        return np.flatnonzero((diverged < 0) & (np.asarray(self.ensemble.members.stops) >= at))

    def _measure(self, at: int) -> None:
        alive, arrays = self._alive(at), self.arrays
        column = self.schedule.scores.index(at)
        for split in ("validation", "test"):
            data = getattr(self.splits, split)
            if data is None or not len(alive):
                continue
            found = self._over(alive, lambda p, b, data=data: self._scores(p, data))
            arrays[f"{split}_loss"][alive, column] = found.loss
            arrays[f"{split}_accuracy"][alive, column] = found.accuracy
            self._choose(split, alive, found.accuracy, at)
        if at in self.schedule.gradients and len(alive):
            self._measure_gradients(alive, self.schedule.gradients.index(at), at)
        arrays["score_done"][column] = True

    def _measure_gradients(self, alive: np.ndarray, column: int, at: int) -> None:
        arrays = self.arrays
        train = self._over(alive, lambda p, b: self._measures(p, self.splits.train))
        test = self._over(alive, lambda p, b: self._measures(p, self.splits.test))
        arrays["train_loss"][alive, column] = train.loss
        arrays["train_accuracy"][alive, column] = train.accuracy
        arrays["train_squared_gradient"][alive, column] = train.squared_gradient
        arrays["test_squared_gradient"][alive, column] = test.squared_gradient
        arrays["norm"][alive, column] = self._over(alive, lambda p, b: self._norm(p))
        for k, level in enumerate(self.schedule.levels):
            fresh = alive[(train.loss < level) & (arrays["crossing_step"][alive, k] < 0)]
            if not len(fresh):
                continue
            arrays["crossing_step"][fresh, k] = at
            # A model that falls through two levels at once is looked at once.
            if k + 1 < len(self.schedule.levels):
                below = arrays["train_loss"][fresh, column] < self.schedule.levels[k + 1]
                fresh = fresh[~below]
            if len(fresh):
                found = self._over(
                    fresh, lambda p, b: self._closeup.curvature(p, self.splits.train)
                )
                for name, values in found.items():
                    arrays[f"crossing_{name}"][fresh, k] = values

    def _choose(self, name: str, alive: np.ndarray, accuracy: np.ndarray, at: int) -> None:
        """Keep a copy of every model that is more accurate than ever before."""
        best, step = self.arrays[f"chosen_{name}_accuracy_then"], self.arrays["chosen_step"]
        point = POINTS.index(name)
        better = np.zeros(self.ensemble.padded, bool)
        better[alive] = ~(accuracy <= best[alive])
        found = np.full(self.ensemble.padded, np.nan)
        found[alive] = accuracy
        real = better[: len(best)]
        best[real], step[real, point] = found[: len(best)][real], at
        self.chosen[name] = _choose(
            self.ensemble.lay(jnp.asarray(better)), self.state.params, self.chosen[name]
        )

    def _params(self, point: str) -> PyTree:
        return self.chosen[point] if point in self.chosen else self.state.params

    def _blocks_of(self, point: str) -> list[np.ndarray]:
        if point == "final":
            alive = self._host(self.state.diverged) < 0
            steps = np.where(alive, self.ensemble.members.stops, -1)
            self.arrays["chosen_step"][:, POINTS.index("final")] = steps
        reached = np.flatnonzero(self.arrays["chosen_step"][:, POINTS.index(point)] >= 0)
        return self.ensemble.blocks(list(reached))

    def _look_closely(self, point: str, block: np.ndarray) -> None:
        column = POINTS.index(point)
        params = self.ensemble.take(self._params(point), block)
        found = self._closeup.look(params, self.splits, deep=point in self.closeup.points)
        for name, values in found.items():
            self.arrays[f"chosen_{name}"][block, column] = values

    def _over(self, members: np.ndarray, function: Callable[[PyTree, np.ndarray], Any]) -> Any:
        """`function(params, block)` over all blocks of `members`, joined, on the host."""
        parts = []
        for block in self.ensemble.blocks(list(members)):
            params = self.ensemble.take(self.state.params, block)
            parts.append(jax.tree.map(np.asarray, function(params, block)))
        joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        return jax.tree.map(lambda a: a[: len(members)], joined)

    def _host(self, array: Array) -> np.ndarray:
        return np.asarray(array)[: len(self.ensemble.members)].copy()

    def _copy(self, params: PyTree) -> PyTree:
        return jax.tree.map(jnp.copy, params)

    def _save(self, path: Path, identity: dict[str, Any]) -> None:
        held = {"state": self.state, **self.chosen}
        leaves = {f"device_{k}": np.asarray(a) for k, a in enumerate(jax.tree.leaves(held))}
        host = {f"host_{name}": a for name, a in self.arrays.items()}
        meta = {"identity": identity, "step": self.step, "tasks_done": self.tasks_done}
        meta["seconds"] = self.seconds
        records.save(path, leaves | host, meta)

    def _restore(self, path: Path, identity: dict[str, Any]) -> None:
        arrays, meta = records.load(path)
        _check_identity(path, meta.get("identity"), identity)
        held = {"state": self.state, **self.chosen}
        structure = jax.tree.structure(held)
        leaves = [arrays[f"device_{k}"] for k in range(structure.num_leaves)]
        held = self.ensemble.lay(jax.tree.unflatten(structure, leaves))
        self.state = State(*held.pop("state"))
        self.chosen = held
        self.arrays = {n.removeprefix("host_"): a for n, a in arrays.items() if n[:5] == "host_"}
        self.step, self.tasks_done = meta["step"], meta["tasks_done"]
        self.seconds = meta["seconds"]


def _check_identity(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    for name in sorted({*wanted, *(found or {})}):
        was, is_now = (found or {}).get(name), wanted.get(name)
        if was != is_now:
            raise records.RecordError(
                f"the checkpoint {path.name} was written with another {name}: {was!r}, now "
                f"{is_now!r}; go on where it was written, or move it away to start afresh"
            )


def _empty(
    members: int, schedule: Schedule, closeup: CloseUp, validation: bool
) -> dict[str, np.ndarray]:
    s, g = len(schedule.scores), len(schedule.gradients)
    levels, points = len(schedule.levels), len(POINTS)

    def nan(*shape: int) -> np.ndarray:
        return np.full((members, *shape), np.nan)

    arrays = {name: nan(s) for name in ("test_loss", "test_accuracy")}
    arrays |= {name: nan(s) for name in ("validation_loss", "validation_accuracy")}
    for name in ("loss", "accuracy", "squared_gradient"):
        arrays[f"train_{name}"] = nan(g)
    arrays |= {name: nan(g) for name in ("test_squared_gradient", "norm")}
    arrays["crossing_step"] = np.full((members, levels), -1)
    arrays |= {f"crossing_{name}": nan(levels) for name in closeup.curvature_names}
    arrays["chosen_step"] = np.full((members, points), -1)
    for name, shape in closeup.shapes(validation).items():
        arrays[f"chosen_{name}"] = nan(points, *shape)
    arrays |= {f"chosen_{name}_accuracy_then": nan() for name in POINTS[:2]}
    return arrays | {
        "score_step": np.asarray(schedule.scores),
        "gradient_step": np.asarray(schedule.gradients),
        "level": np.asarray(schedule.levels),
        "noise_sigma": np.asarray(closeup.noise_sigmas),
        "slope_sigma": np.asarray(closeup.slope_sigmas),
        "score_done": np.zeros(s, bool),
        "diverged": np.full(members, -1),
    }


@jax.jit
def _choose(better: Array, new: PyTree, old: PyTree) -> PyTree:
    def leaf(n: Array, o: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (n.ndim - 1)), n, o)

    return jax.tree.map(leaf, new, old)
