"""When the models of a sweep are measured, what has been measured so far, and its best models.

Source: Section 6 and Appendix A.5; chapter 7, *MNIST*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.experiments.ensemble import Ensemble, State
from igrlib.experiments.evaluation import Evaluation, Evaluator, Splits
from igrlib.experiments.networks.model import Model, Variables
from igrlib.experiments.schema import POINTS, empty_arrays

__all__ = ["Log", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """The steps at which accuracies, and gradients, are measured.

    Sorted; `gradients` and `curvatures`, where sharpness is measured, are among `scores`, because
    all are wanted of the same parameters.
    `levels`: the training losses at whose first crossing a model is looked at closely, falling.

    Source: Appendix A.5 shows curves and does not say how often it measured; chapter 7.
    """

    scores: tuple[int, ...]
    gradients: tuple[int, ...]
    levels: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)
    curvatures: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("scores", "gradients", "curvatures"):
            steps = getattr(self, name)
            if not steps and name == "curvatures":
                continue
            if not steps or list(steps) != sorted(set(steps)) or steps[0] < 0:
                raise ValueError(f"{name} must be steps in rising order, got {steps}")
        for name in ("gradients", "curvatures"):
            strays = sorted(set(getattr(self, name)) - set(self.scores))
            if strays:
                raise ValueError(f"{name} must be among scores, got {strays} besides")
        if list(self.levels) != sorted(set(self.levels), reverse=True):
            raise ValueError(f"levels must be in falling order, got {self.levels}")


class Log:
    """Measures an ensemble into `arrays`, NaN where nothing was measured.

    `chosen` holds a copy of each model at its best validation accuracy and at its best test
    accuracy; `models` are those at step 0.
    """

    schedule: Schedule
    evaluator: Evaluator
    chosen: dict[str, Variables]
    arrays: dict[str, np.ndarray]

    def __init__(
        self,
        model: Model,
        ensemble: Ensemble,
        splits: Splits,
        schedule: Schedule,
        evaluation: Evaluation,
        models: Variables,
    ) -> None:
        self._ensemble, self.schedule = ensemble, schedule
        self.evaluator = Evaluator(model, evaluation, ensemble, splits)
        self.chosen = {point: jax.tree.map(jnp.copy, models) for point in POINTS[:2]}
        members = ensemble.members
        self.arrays = empty_arrays(
            len(members),
            scores=schedule.scores,
            gradients=schedule.gradients,
            levels=schedule.levels,
            noise_sigmas=evaluation.noise_sigmas,
            slope_sigmas=evaluation.slope_sigmas,
            validation=splits.validation is not None,
            normalized=self.evaluator.normalized,
            curvatures=schedule.curvatures,
            batches=min(evaluation.sharpness_batches, ensemble.steps_per_epoch),
        )
        self.arrays |= {
            "learning_rate": np.asarray(members.learning_rates),
            "seed": np.asarray(members.seeds),
            "mu": np.asarray(members.mus),
            "stop": np.asarray(members.stops),
        }

    def has(self, at: int) -> bool:
        """Whether step `at` of the schedule is measured."""
        return bool(self.arrays["score_done"][self.schedule.scores.index(at)])

    def measure(self, state: State, at: int) -> None:
        """Measure what the schedule asks for at step `at`, and choose the best models so far."""
        alive, arrays = self._alive(state, at), self.arrays
        models, column = state.variables, self.schedule.scores.index(at)
        for split in ("validation", "test"):
            if getattr(self.evaluator.splits, split) is None or not len(alive):
                continue
            found = self._measured("scores", split, models, alive)
            arrays[f"{split}_loss"][alive, column] = found.loss
            arrays[f"{split}_accuracy"][alive, column] = found.accuracy
            self._choose(split, models, alive, found.accuracy, at)
        if at in self.schedule.gradients and len(alive):
            self._measure_gradients(models, alive, self.schedule.gradients.index(at), at)
        if at in self.schedule.curvatures and len(alive):
            found = self._measured("sharpness", "train", models, alive)
            for name, values in found._asdict().items():
                arrays[name][alive, self.schedule.curvatures.index(at)] = values
        arrays["score_done"][column] = True

    def ended(self, state: State) -> State:
        """`state` after the last step, with the models marked that are not finite at their end.

        A step looks at the loss it starts from: no step has looked at what the last one left.
        """
        diverged = self.host(state.diverged)
        sound = self.host(_finite(state.variables))
        for k, stop in enumerate(self._ensemble.members.stops):
            if stop in self.schedule.gradients:
                column = self.schedule.gradients.index(stop)
                sound[k] &= bool(np.isfinite(self.arrays["train_loss"][k, column]))
            if diverged[k] < 0 and not sound[k]:
                diverged[k] = stop
        padding = np.asarray(state.diverged)[len(diverged) :]
        return state._replace(diverged=self._ensemble.lay(np.concatenate([diverged, padding])))

    def reached(self, state: State, point: str) -> list[np.ndarray]:
        """The models that reached one of `POINTS`, in rounds."""
        if point == "final":
            alive = self.host(state.diverged) < 0
            steps = np.where(alive, self._ensemble.members.stops, -1)
            self.arrays["chosen_step"][:, POINTS.index("final")] = steps
        reached = np.flatnonzero(self.arrays["chosen_step"][:, POINTS.index(point)] >= 0)
        return self._ensemble.rounds(reached.tolist())

    def look_closely(self, state: State, point: str, members: np.ndarray) -> None:
        """Measure everything of a round of models at one of `POINTS`."""
        column = POINTS.index(point)
        models = self._ensemble.take(self.chosen.get(point, state.variables), members)
        found = self.evaluator.look(models, deep=point in self.evaluator.evaluation.points)
        for name, values in found.items():
            self.arrays[f"chosen_{name}"][members, column] = values

    def host(self, array: Array) -> np.ndarray:
        """The values of the models on the host, without the padding."""
        return np.asarray(array)[: len(self._ensemble.members)].copy()

    def _alive(self, state: State, at: int) -> np.ndarray:
        """Models that reached step `at` and are finite."""
        diverged = self.host(state.diverged)
        return np.flatnonzero((diverged < 0) & (np.asarray(self._ensemble.members.stops) >= at))

    def _measure_gradients(
        self, models: Variables, alive: np.ndarray, column: int, at: int
    ) -> None:
        arrays = self.arrays
        train = self._measured("measures", "train", models, alive)
        test = self._measured("measures", "test", models, alive)
        for name, values in train._asdict().items():
            arrays[f"train_{name}"][alive, column] = values
        if self.evaluator.normalized:
            still = self._measured("measures", "evaluated", models, alive)
            arrays["evaluated_loss"][alive, column] = still.loss
            arrays["evaluated_squared_gradient"][alive, column] = still.squared_gradient
        arrays["test_squared_gradient"][alive, column] = test.squared_gradient
        arrays["norm"][alive, column] = self._over(models, alive, self.evaluator.norm)
        for k, level in enumerate(self.schedule.levels):
            fresh = alive[(train.loss < level) & (arrays["crossing_step"][alive, k] < 0)]
            if not len(fresh):
                continue
            arrays["crossing_step"][fresh, k] = at
            # A model that falls through two levels at once is measured once.
            if k + 1 < len(self.schedule.levels):
                below = arrays["train_loss"][fresh, column] < self.schedule.levels[k + 1]
                fresh = fresh[~below]
            if len(fresh):
                found = self._over(models, fresh, self.evaluator.curvature)
                for name, values in found.items():
                    arrays[f"crossing_{name}"][fresh, k] = values

    def _choose(
        self, name: str, models: Variables, alive: np.ndarray, accuracy: np.ndarray, at: int
    ) -> None:
        """Keep a copy of every model that is more accurate than before."""
        best = self.arrays[f"chosen_{name}_accuracy_then"]
        # NaN stands for none yet, and any accuracy is better.
        better = np.isfinite(accuracy) & ~(accuracy <= best[alive])
        who = alive[better]
        best[who], self.arrays["chosen_step"][who, POINTS.index(name)] = accuracy[better], at
        chosen = self._ensemble.lay(np.isin(np.arange(self._ensemble.padded), who))
        self.chosen[name] = _choose(chosen, models, self.chosen[name])

    def _measured(self, name: str, split: str, models: Variables, members: np.ndarray) -> Any:
        return self._over(models, members, lambda v: self.evaluator.measure(name, split, v))

    def _over(
        self, models: Variables, members: np.ndarray, function: Callable[[PyTree], Any]
    ) -> Any:
        """`function` of all `members`, round by round, joined on the host."""
        parts = []
        for some in self._ensemble.rounds(members.tolist()):
            parts.append(jax.tree.map(np.asarray, function(self._ensemble.take(models, some))))
        joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        return jax.tree.map(lambda a: a[: len(members)], joined)


@jax.jit
def _finite(models: Variables) -> Array:
    """Which models are finite in all of their numbers."""
    each = [jnp.isfinite(a).all(tuple(range(1, a.ndim))) for a in jax.tree.leaves(models)]
    return jnp.all(jnp.stack(each), axis=0)


@jax.jit
def _choose(better: Array, new: PyTree, old: PyTree) -> PyTree:
    def leaf(n: Array, o: Array) -> Array:
        return jnp.where(better.reshape(-1, *[1] * (n.ndim - 1)), n, o)

    return jax.tree.map(leaf, new, old)
