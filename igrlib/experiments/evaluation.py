"""What is measured of the models of an ensemble, on which split, and in which mode of batch norm.

With batch norm a network computes two functions: in training mode each batch is normalized by its
own mean and variance, in evaluation mode by the moving averages. `MODES` says which of the two each
measure takes. The loss E that descends, its gradient and so R_IG, its curvature and its noise are
those of training mode, over consecutive parts of the split as large as the batches of training;
accuracies of other splits, by which models are chosen, are those of evaluation mode.

Source: Section 6 and Appendix A.5, Figure 3; chapters 7, *MNIST*, and 8, *ResNet-18*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib._trees import squared_norm
from igrlib._typing import PyTree
from igrlib.experiments.ensemble import Ensemble
from igrlib.experiments.measures import (
    AT_ONCE,
    Logits,
    OverSplit,
    largest_hessian_eigenvalue,
    mean_squared_batch_gradient,
    measures,
    perturbed,
    scores,
    sharpness,
    sharpness_of_batches,
)
from igrlib.experiments.networks.model import Model, NormalizedClassifier, Variables
from igrlib.experiments.schema import CURVATURE

__all__ = ["MODES", "Evaluation", "Evaluator", "Mode", "Splits"]

Mode: TypeAlias = Literal["training", "evaluation"]

MODES: dict[tuple[str, str], Mode] = {
    ("scores", "validation"): "evaluation",
    ("scores", "test"): "evaluation",
    ("measures", "train"): "training",
    # The training split once more, as networks are used afterwards.
    ("measures", "evaluated"): "evaluation",
    ("measures", "validation"): "evaluation",
    ("measures", "test"): "evaluation",
    ("lambda_max", "train"): "training",
    ("sharpness", "train"): "training",
    ("batch_squared_gradient", "train"): "training",
    ("batch_sharpness", "train"): "training",
    ("noise_slope", "train"): "training",
    ("noise_accuracy", "test"): "evaluation",
}
"""The mode of each measure of each split. Without batch norm both modes are one function."""


class Splits(NamedTuple):
    """Images and labels by split, on the devices; `validation` may be None."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array]


@dataclass(frozen=True)
class Evaluation:
    """How models are measured.

    points: at which of the chosen points λ_max and the effect of noise are measured; num_matvecs:
    Hessian products for each λ_max; sharpness_batches: the number of batches whose sharpness is
    measured; noise_sigmas, noise_draws: standard deviations of the multiplicative
    noise and draws for the test accuracy after it, each on one of `noise_parts` equal parts of the
    test split, which take turns (images past the last whole part are left out); slope_sigmas,
    slope_draws: the same for the slope, on the whole training split.
    """

    points: tuple[str, ...] = ("validation",)
    num_matvecs: int = 5
    sharpness_batches: int = 64
    noise_sigmas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    noise_draws: int = 100
    noise_parts: int = 10
    slope_sigmas: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)
    slope_draws: int = 3


class Evaluator:
    """An `Evaluation` of the models of one ensemble, all copies of `model`, on its splits.

    Each method takes the `Variables` of a round of models. A program is compiled at its first use.
    """

    model: Model
    evaluation: Evaluation
    splits: Splits
    normalized: bool
    norm: Callable[[PyTree], Array]

    def __init__(
        self, model: Model, evaluation: Evaluation, ensemble: Ensemble, splits: Splits
    ) -> None:
        self.model, self.evaluation, self.splits = model, evaluation, splits
        self._ensemble = ensemble
        self.normalized = isinstance(model, NormalizedClassifier)
        # With batch norm in training mode E depends on the parts: they are as large as batches.
        self._at_once = ensemble.batch_size if self.normalized else AT_ONCE
        self.norm = ensemble.each(lambda v: jnp.sqrt(squared_norm(v.params)))
        self._program = cache(self._compiled)

    def measure(self, name: str, split: str, models: PyTree) -> Any:
        """A measure of a split, as `MODES` lists them, in its mode."""
        mode = MODES[name, split] if self.normalized else "training"
        data = getattr(self.splits, "train" if split == "evaluated" else split)
        return self._program(name, mode)(models, data)

    def curvature(self, models: PyTree) -> dict[str, np.ndarray]:
        """λ_max, the mean of ‖∇E_B‖² and the batch sharpness, for each model of a round."""
        return {name: np.asarray(self.measure(name, "train", models)) for name in CURVATURE}

    def look(self, models: PyTree, *, deep: bool) -> dict[str, np.ndarray]:
        """All measures of a round of models; the costly ones where `deep`."""
        found = {"norm": np.asarray(self.norm(models))}
        for name, split in MODES:
            absent = (split == "validation" and self.splits.validation is None) or (
                split == "evaluated" and not self.normalized
            )
            if name == "measures" and not absent:
                for field, values in self.measure(name, split, models)._asdict().items():
                    found[f"{split}_{field}"] = np.asarray(values)
        if deep:
            found |= self.curvature(models)
            for name, split in (("noise_slope", "train"), ("noise_accuracy", "test")):
                mean, sd = self.measure(name, split, models)
                found |= {name: np.asarray(mean), f"{name}_sd": np.asarray(sd)}
        return found

    def _compiled(self, name: str, mode: Mode) -> Callable[[PyTree, tuple[Array, Array]], Any]:
        """`(models, split) -> measure`, of one mode."""
        of, at_once = self._logits(mode), self._at_once
        if name in ("scores", "measures"):
            return self._over_split(scores if name == "scores" else measures, of)
        if name == "lambda_max":
            num_matvecs = self.evaluation.num_matvecs
            return self._ensemble.each(
                lambda v, split: (
                    largest_hessian_eigenvalue(
                        of(v), v.params, *split, num_matvecs=num_matvecs, at_once=at_once
                    ).value
                )
            )
        if name == "sharpness":
            batch_size = self._ensemble.batch_size
            number = min(self.evaluation.sharpness_batches, self._ensemble.steps_per_epoch)
            return self._ensemble.each(
                lambda v, split: sharpness(
                    of(v),
                    v.params,
                    *split,
                    batch_size=batch_size,
                    num_batches=number,
                    num_matvecs=self.evaluation.num_matvecs,
                    at_once=at_once,
                )
            )
        if name == "batch_squared_gradient":
            return self._ensemble.each(
                lambda v, split: mean_squared_batch_gradient(
                    of(v), v.params, *split, batch_size=self._ensemble.batch_size
                )
            )
        if name == "batch_sharpness":
            return self._ensemble.each(
                lambda v, split: (
                    sharpness_of_batches(
                        of(v), v.params, *split, batch_size=self._ensemble.batch_size
                    ).ratio_of_means
                )
            )
        noisy, sigmas = {
            "noise_slope": (self._slopes, self.evaluation.slope_sigmas),
            "noise_accuracy": (self._accuracies, self.evaluation.noise_sigmas),
        }[name]
        at = self._ensemble.replicate(jnp.asarray(sigmas, jnp.float32))
        each = self._ensemble.each(lambda v, split, sigmas: noisy(of(v), v.params, split, sigmas))
        return lambda models, split: each(models, split, at)

    def _logits(self, mode: Mode) -> Callable[[Variables], Logits]:
        model = self.model
        if mode == "training":
            return lambda v: lambda params, images: model.training(params, v.stats, images)[0]
        return lambda v: lambda params, images: model.evaluation(params, v.stats, images)

    def _over_split(
        self, measure: OverSplit[Any], of: Callable[[Variables], Logits]
    ) -> Callable[[PyTree, tuple[Array, Array]], Any]:
        """`measure` of a split, its loop in the program where the layout has its loops there."""
        ensemble, at_once = self._ensemble, self._at_once
        if ensemble.layout.loop:
            return ensemble.each(lambda v, split: measure(of(v), v.params, *split, at_once=at_once))
        part = ensemble.each(lambda v, x, y: measure.part(of(v), v.params, x, y))
        finish = ensemble.each(lambda v, total, n: measure.finish(v.params, total, n), num_mapped=2)
        add = jax.jit(lambda one, other: jax.tree.map(jnp.add, one, other))

        def walk(models: PyTree, split: tuple[Array, Array]) -> Any:
            n, total = len(split[1]), None
            for begin in range(0, n, at_once):
                size = min(at_once, n - begin)
                x, y = (jax.lax.dynamic_slice_in_dim(a, begin, size) for a in split)
                summand = part(models, x, y)
                total = summand if total is None else add(total, summand)
            return finish(models, total, float(n))

        return walk

    def _slopes(
        self, logits: Logits, params: PyTree, train: tuple[Array, Array], sigmas: Array
    ) -> tuple[Array, Array]:
        def slope(sigma: Array, key: Array) -> Array:
            noisy = perturbed(params, key, sigma)
            return jnp.sqrt(measures(logits, noisy, *train, at_once=self._at_once).squared_gradient)

        return _over_draws(slope, sigmas, _draw_keys(2, self.evaluation.slope_draws))

    def _accuracies(
        self, logits: Logits, params: PyTree, test: tuple[Array, Array], sigmas: Array
    ) -> tuple[Array, Array]:
        draws, parts = self.evaluation.noise_draws, self.evaluation.noise_parts
        size = len(test[1]) // parts
        images, labels = (a[: parts * size].reshape(parts, size, *a.shape[1:]) for a in test)

        def accuracy(sigma: Array, key_and_part: tuple[Array, Array]) -> Array:
            key, part = key_and_part
            outputs = logits(perturbed(params, key, sigma), images[part])
            return jnp.mean(jnp.argmax(outputs, -1) == labels[part])

        return _over_draws(accuracy, sigmas, (_draw_keys(3, draws), jnp.arange(draws) % parts))


def _draw_keys(purpose: int, draws: int) -> Array:
    """Keys of the noise, the same for every model: noise makes no difference between models."""
    return jax.random.split(jax.random.fold_in(jax.random.key(0), purpose), draws)


def _over_draws(function: Callable[..., Array], sigmas: Array, draws: Any) -> tuple[Array, Array]:
    """Mean and standard deviation over draws, for each sigma, one draw at a time."""

    def at(sigma: Array) -> tuple[Array, Array]:
        values = jax.lax.map(lambda d: function(sigma, d), draws)
        return jnp.mean(values), jnp.std(values)

    return jax.lax.map(at, sigmas)
