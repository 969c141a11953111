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
from igrlib.measures import (
    largest_hessian_eigenvalue,
    mean_squared_batch_gradient,
    measures,
    perturbed,
)
from igrlib.training.ensemble import Ensemble

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

    def shapes(self, validation: bool) -> dict[str, tuple[int, ...]]:
        """Names and shapes, for one model and point, of what `look` returns."""
        splits = ("train", "validation", "test") if validation else ("train", "test")
        names = [f"{s}_{m}" for s in splits for m in ("loss", "accuracy", "squared_gradient")]
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
    """A `CloseUp` for one ensemble, with what it measures of a block of models.

    measures: `(params, split) -> Measures`; norm: `params -> ‖θ‖`.
    """

    closeup: CloseUp
    measures: Callable[..., PyTree]
    norm: Callable[..., PyTree]

    def __init__(self, closeup: CloseUp, ensemble: Ensemble) -> None:
        self.closeup = closeup
        logits = ensemble.classifier.logits
        self._same = ensemble.replicate
        self.measures = ensemble.each(lambda p, split: measures(logits, p, *split))
        self.norm = ensemble.each(lambda p: jnp.sqrt(squared_norm(p)))
        self._lambda_max = ensemble.each(
            lambda p, split: largest_hessian_eigenvalue(
                logits, p, *split, num_matvecs=closeup.num_matvecs
            )
        )
        self._by_batch = ensemble.each(
            lambda p, split: mean_squared_batch_gradient(
                logits, p, *split, batch_size=closeup.batch_size
            )
        )
        self._slopes = ensemble.each(self._slopes_after_noise(logits))
        self._accuracies = ensemble.each(self._accuracies_after_noise(logits))

    def curvature(self, params: PyTree, train: tuple[Array, Array]) -> dict[str, np.ndarray]:
        """λ_max and the mean of ‖∇E_B‖², for each model of a block."""
        return {
            "lambda_max": np.asarray(self._lambda_max(params, train)),
            "batch_squared_gradient": np.asarray(self._by_batch(params, train)),
        }

    def look(self, params: PyTree, splits: Any, *, deep: bool) -> dict[str, np.ndarray]:
        """All measures of a block of models; the costly ones where `deep`."""
        found = {"norm": np.asarray(self.norm(params))}
        for name, split in splits._asdict().items():
            if split is not None:
                for field, values in self.measures(params, split)._asdict().items():
                    found[f"{name}_{field}"] = np.asarray(values)
        if deep:
            found |= self.curvature(params, splits.train)
            sigmas = self._same(jnp.asarray(self.closeup.slope_sigmas, jnp.float32))
            mean, sd = self._slopes(params, splits.train, sigmas)
            found |= {"noise_slope": np.asarray(mean), "noise_slope_sd": np.asarray(sd)}
            sigmas = self._same(jnp.asarray(self.closeup.noise_sigmas, jnp.float32))
            mean, sd = self._accuracies(params, splits.test, sigmas)
            found |= {"noise_accuracy": np.asarray(mean), "noise_accuracy_sd": np.asarray(sd)}
        return found

    def _slopes_after_noise(self, logits: Callable[..., Array]) -> Callable[..., Any]:
        draws = self.closeup.slope_draws

        def slopes(params: PyTree, train: tuple[Array, Array], sigmas: Array) -> Any:
            def slope(sigma: Array, key: Array) -> Array:
                noisy = perturbed(params, key, sigma)
                return jnp.sqrt(measures(logits, noisy, *train).squared_gradient)

            return _over_draws(slope, sigmas, _draw_keys(2, draws))

        return slopes

    def _accuracies_after_noise(self, logits: Callable[..., Array]) -> Callable[..., Any]:
        draws, parts = self.closeup.noise_draws, self.closeup.noise_parts

        def accuracies(params: PyTree, test: tuple[Array, Array], sigmas: Array) -> Any:
            size = len(test[1]) // parts
            images, labels = (a[: parts * size].reshape(parts, size, *a.shape[1:]) for a in test)

            def accuracy(sigma: Array, key_and_part: tuple[Array, Array]) -> Array:
                key, part = key_and_part
                outputs = logits(perturbed(params, key, sigma), images[part])
                return jnp.mean(jnp.argmax(outputs, -1) == labels[part])

            return _over_draws(accuracy, sigmas, (_draw_keys(3, draws), jnp.arange(draws) % parts))

        return accuracies


def _draw_keys(purpose: int, draws: int) -> Array:
    """The same noise for every model: their differences are not the noise's."""
    return jax.random.split(jax.random.fold_in(jax.random.key(0), purpose), draws)


def _over_draws(function: Callable[..., Array], sigmas: Array, draws: Any) -> tuple[Array, Array]:
    """Mean and standard deviation over draws, for each sigma, one draw at a time."""

    def at(sigma: Array) -> tuple[Array, Array]:
        values = jax.lax.map(lambda d: function(sigma, d), draws)
        return jnp.mean(values), jnp.std(values)

    return jax.lax.map(at, sigmas)
