"""The close look at a trained model: curvature, the gradient by batches, and what noise does to it.

Source: Section 6, Figure 3; chapter 7, *MNIST*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from igrlib._trees import squared_norm
from igrlib._typing import PyTree
from igrlib.experiments.passes import over_split
from igrlib.measures import (
    BLOCK,
    MEASURES,
    SCORES,
    Logits,
    Measures,
    largest_hessian_eigenvalue,
    mean_squared_batch_gradient,
    measures,
    perturbed,
)
from igrlib.training import Ensemble, NormalizedClassifier, Variables

__all__ = ["CloseUp", "CompiledCloseUp"]


@dataclass(frozen=True)
class CloseUp:
    """What is measured of a chosen model.

    points: at which of the chosen points the costly part is measured, λ_max and noise;
    num_matvecs: Hessian products for λ_max; noise_sigmas, noise_draws: standard deviations of the
    multiplicative noise and draws for the test accuracy after it, each on one of
    `noise_parts` equal parts of the test split, which take turns (images past the last whole part
    are left out); slope_sigmas, slope_draws: the same for the slope, on the whole training split;
    batch_size: of the batches whose squared gradients are averaged.

    With batch norm the loss in training mode is that of the split cut into consecutive blocks, as
    large as the batches of training, each normalised by itself.
    """

    batch_size: int
    points: tuple[str, ...] = ("validation",)
    num_matvecs: int = 5
    noise_sigmas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    noise_draws: int = 100
    noise_parts: int = 10
    slope_sigmas: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)
    slope_draws: int = 3

    curvature_names: ClassVar[tuple[str, ...]] = ("lambda_max", "batch_squared_gradient")

    def shapes(self, validation: bool, normalized: bool = False) -> dict[str, tuple[int, ...]]:
        """Names and shapes, for one model and point, of what `look` returns.

        With batch norm (`normalized`) the training split is measured in evaluation mode too.
        """
        splits = ["train", "test", *["validation"] * validation, *["evaluated"] * normalized]
        names = [f"{split}_{measure}" for split in splits for measure in Measures._fields]
        noise, slope = (len(self.noise_sigmas),), (len(self.slope_sigmas),)
        return {
            **dict.fromkeys(("norm", *names, *self.curvature_names), ()),
            **dict.fromkeys(("noise_accuracy", "noise_accuracy_sd"), noise),
            **dict.fromkeys(("noise_slope", "noise_slope_sd"), slope),
        }

    def compiled(self, ensemble: Ensemble) -> "CompiledCloseUp":
        """The close look, compiled for the blocks of an ensemble."""
        return CompiledCloseUp(self, ensemble)


class CompiledCloseUp:
    """A `CloseUp` for one ensemble, with what it measures of the `Variables` of a block of models.

    scores: `(models, split) -> Scores` in evaluation mode; trained, evaluated: `-> Measures`, with
    batch norm in training mode, as the gradient that is descended on, and in evaluation mode;
    norm: `models -> ‖θ‖`.
    """

    closeup: CloseUp
    normalized: bool
    scores: Callable[..., PyTree]
    trained: Callable[..., PyTree]
    evaluated: Callable[..., PyTree]
    norm: Callable[..., PyTree]

    def __init__(self, closeup: CloseUp, ensemble: Ensemble) -> None:
        self.closeup = closeup
        model = ensemble.classifier
        self.normalized = isinstance(model, NormalizedClassifier)
        self._same = ensemble.replicate

        def training(v: Variables) -> Logits:
            return lambda params, images: model.train(params, v.stats, images)[0]

        def evaluating(v: Variables) -> Logits:
            return lambda params, images: model.evaluate(params, v.stats, images)

        # In training mode batch norm makes a loss of every block: then they are of a batch's size.
        block = ensemble.batch_size if self.normalized else BLOCK
        self.scores = over_split(ensemble, SCORES, evaluating, block=block)
        self.trained = over_split(ensemble, MEASURES, training, block=block)
        # Without batch norm it is the same program: compiled once.
        self.evaluated = self.trained
        if self.normalized:
            self.evaluated = over_split(ensemble, MEASURES, evaluating, block=block)
        self.norm = ensemble.each(lambda v: jnp.sqrt(squared_norm(v.params)))
        self._lambda_max = ensemble.each(
            lambda v, split: largest_hessian_eigenvalue(
                training(v), v.params, *split, num_matvecs=closeup.num_matvecs, block=block
            )
        )
        self._by_batch = ensemble.each(
            lambda v, split: mean_squared_batch_gradient(
                training(v), v.params, *split, batch_size=closeup.batch_size
            )
        )
        self._slopes = ensemble.each(
            lambda v, *rest: self._slopes_after_noise(training(v), v.params, *rest, block=block)
        )
        self._accuracies = ensemble.each(
            lambda v, *rest: self._accuracies_after_noise(evaluating(v), v.params, *rest)
        )

    def curvature(self, models: PyTree, train: tuple[Array, Array]) -> dict[str, np.ndarray]:
        """λ_max and the mean of ‖∇E_B‖², for each model of a block."""
        return {
            "lambda_max": np.asarray(self._lambda_max(models, train)),
            "batch_squared_gradient": np.asarray(self._by_batch(models, train)),
        }

    def look(self, models: PyTree, splits: Any, *, deep: bool) -> dict[str, np.ndarray]:
        """All measures of a block of models; the costly ones where `deep`."""
        measured = {
            "train": (self.trained, splits.train),
            "validation": (self.evaluated, splits.validation),
            "test": (self.evaluated, splits.test),
        }
        if self.normalized:
            measured["evaluated"] = (self.evaluated, splits.train)
        found = {"norm": np.asarray(self.norm(models))}
        for name, (measure, split) in measured.items():
            if split is not None:
                for field, values in measure(models, split)._asdict().items():
                    found[f"{name}_{field}"] = np.asarray(values)
        if deep:
            found |= self.curvature(models, splits.train)
            sigmas = self._same(jnp.asarray(self.closeup.slope_sigmas, jnp.float32))
            mean, sd = self._slopes(models, splits.train, sigmas)
            found |= {"noise_slope": np.asarray(mean), "noise_slope_sd": np.asarray(sd)}
            sigmas = self._same(jnp.asarray(self.closeup.noise_sigmas, jnp.float32))
            mean, sd = self._accuracies(models, splits.test, sigmas)
            found |= {"noise_accuracy": np.asarray(mean), "noise_accuracy_sd": np.asarray(sd)}
        return found

    def _slopes_after_noise(
        self,
        logits: Logits,
        params: PyTree,
        train: tuple[Array, Array],
        sigmas: Array,
        *,
        block: int,
    ) -> tuple[Array, Array]:
        def slope(sigma: Array, key: Array) -> Array:
            noisy = perturbed(params, key, sigma)
            return jnp.sqrt(measures(logits, noisy, *train, block=block).squared_gradient)

        return _over_draws(slope, sigmas, _draw_keys(2, self.closeup.slope_draws))

    def _accuracies_after_noise(
        self, logits: Logits, params: PyTree, test: tuple[Array, Array], sigmas: Array
    ) -> tuple[Array, Array]:
        draws, parts = self.closeup.noise_draws, self.closeup.noise_parts
        size = len(test[1]) // parts
        images, labels = (a[: parts * size].reshape(parts, size, *a.shape[1:]) for a in test)

        def accuracy(sigma: Array, key_and_part: tuple[Array, Array]) -> Array:
            key, part = key_and_part
            outputs = logits(perturbed(params, key, sigma), images[part])
            return jnp.mean(jnp.argmax(outputs, -1) == labels[part])

        return _over_draws(accuracy, sigmas, (_draw_keys(3, draws), jnp.arange(draws) % parts))


def _draw_keys(purpose: int, draws: int) -> Array:
    """The same noise for every model: their differences are not the noise's."""
    return jax.random.split(jax.random.fold_in(jax.random.key(0), purpose), draws)


def _over_draws(function: Callable[..., Array], sigmas: Array, draws: Any) -> tuple[Array, Array]:
    """Mean and standard deviation over draws, for each sigma, one draw at a time."""

    def at(sigma: Array) -> tuple[Array, Array]:
        values = jax.lax.map(lambda d: function(sigma, d), draws)
        return jnp.mean(values), jnp.std(values)

    return jax.lax.map(at, sigmas)
