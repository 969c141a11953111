"""A sweep's models as a table: a row for each block, a column for each learning rate and μ.

A block is a width, batch size and seed. Its models share initial values and, step by step, their
batches, so that within a block nothing but h and μ differs.

Source: Section 6; chapter 7, *MNIST*.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from igrlib.experiments.schema import ALONG, POINTS

__all__ = ["Blocks", "area_under", "squared_gradient_at"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """The models of one arm by block, learning rate h and explicit regularization rate μ.

    width, batch_size, seed, num_params: (B,); full_batch: (B,), whether a batch is the whole
    training split; smooth: (B,), whether the loss has no kinks; num_matvecs: (B,), the Lanczos
    products that each λ_max was made of, 0 where nobody has said; learning_rate, mu: (R,), sorted
    by μ, then by h; finished: (B, R), whether there is such a model; marks: name to (B, R),
    "diverged" among them; values: name to (B, R, …), NaN where nothing was measured or the model
    diverged; shared: what all models have in common, and the steps of all measurements together.
    """

    arm: str
    width: np.ndarray
    batch_size: np.ndarray
    seed: np.ndarray
    num_params: np.ndarray
    full_batch: np.ndarray
    smooth: np.ndarray
    num_matvecs: np.ndarray
    learning_rate: np.ndarray
    mu: np.ndarray
    finished: np.ndarray
    marks: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]

    @property
    def effective_rate(self) -> Float[np.ndarray, " r"]:
        """h + 4μ, the step whose implicit regularizer is as strong as h/4 + μ.

        To first order gradient descent with step h on E + μ‖∇E‖² follows the flow of
        E + (h/4 + μ)‖∇E‖². Source: eqs. (2) and (8); chapter 9.
        """
        return self.learning_rate + 4 * self.mu

    def value(self, name: str) -> np.ndarray:
        """(B, R, …), all NaN where the record has no such measurement."""
        return self.values.get(name, np.full(self.finished.shape, np.nan))

    def chosen(self, name: str, point: str) -> np.ndarray:
        """(B, R, …) of `chosen_<name>` at one of `POINTS`; NaN where not measured."""
        if f"chosen_{name}" not in self.values:
            return np.full(self.finished.shape, np.nan)
        return self.values[f"chosen_{name}"][:, :, POINTS.index(point)]

    def area_under_noise(self, point: str) -> Float[np.ndarray, "b r"]:
        """The mean accuracy over the recorded σ, in [0, 1], at one of `POINTS`; else NaN."""
        sigma, accuracy = self.shared.get("noise_sigma"), self.chosen("noise_accuracy", point)
        if sigma is None or len(sigma) < 2 or accuracy.ndim < 3:
            return np.full(self.finished.shape, np.nan)
        return area_under(accuracy, sigma)

    def log_squared_gradient(self, level: float) -> Float[np.ndarray, "b r"]:
        """log ‖∇E‖² as training loss first falls below `level`; see `squared_gradient_at`."""
        loss, squared = self.values.get("train_loss"), self.values.get("train_squared_gradient")
        if loss is None or squared is None:
            return np.full(self.finished.shape, np.nan)
        return squared_gradient_at(loss, squared, level)

    def time_at(self, level: float) -> Float[np.ndarray, "b r"]:
        """The physical time t = n·h at which training loss first falls below `level`; else NaN.

        Between the two measurements around the crossing log n is taken as linear in log E.
        """
        loss, steps = self.values.get("train_loss"), self.shared.get("gradient_step")
        if loss is None or steps is None:
            return np.full(self.finished.shape, np.nan)
        with np.errstate(divide="ignore"):  # Step 0 has no logarithm: what is first seen below
            logs = np.log(steps.astype(float))  # right after it has no time.
        return self.learning_rate * np.exp(
            _at_crossing(loss, np.broadcast_to(logs, loss.shape), level)
        )

    def lambda_max_at(self, level: float) -> Float[np.ndarray, "b r"]:
        """λ_max as training loss first falls below `level`, one of the recorded levels; else NaN.

        λ_max was measured where the loss was first seen below each level. Between the measurement
        before the crossing and the one after it log λ_max is taken as linear in log E. Where there
        is none before, it is the one after: `lambda_max_loss` says at which loss.
        """
        return self._lambda_max(level)[0]

    def lambda_max_loss(self, level: float) -> Float[np.ndarray, "b r"]:
        """The training loss at which `lambda_max_at` is: `level` where it was interpolated."""
        return self._lambda_max(level)[1]

    def _lambda_max(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        at = np.flatnonzero(np.isclose(self.shared.get("level", np.zeros(0)), level))
        if not len(at) or "crossing_lambda_max" not in self.values:
            nothing = np.full(self.finished.shape, np.nan)
            return nothing, nothing
        first = int(at[0])
        value, loss = self._crossing(first)
        log = np.log(np.where(value > 0, value, np.nan))
        interpolated = np.zeros(log.shape, bool)
        for upper in reversed(range(first)):
            before, higher = self._crossing(upper)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.log(higher / level) / np.log(higher / loss)
                between = log + (1 - share) * (np.log(before) - log)
            # Measured once for both levels, it was below both; interpolated, it is at the level.
            found = (higher >= level) & (loss < level) & np.isfinite(between)
            log, loss = np.where(found, between, log), np.where(found, level, loss)
            interpolated |= found
        value = np.where(interpolated, np.exp(log), value)
        return value, np.where(np.isfinite(value), loss, np.nan)

    def _crossing(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """λ_max and the loss where that was first seen below the k-th level.

        Where it fell below several levels between two measurements λ_max was measured once, and is
        the same for all of these.
        """
        step, found = self.values["crossing_step"], self.values["crossing_lambda_max"]
        curvature = found[:, :, k].copy()
        for lower in range(k + 1, found.shape[2]):
            same = np.isnan(curvature) & (step[:, :, lower] == step[:, :, k])
            curvature[same] = found[:, :, lower][same]
        loss, grid = self.values.get("train_loss"), self.shared.get("gradient_step")
        there = np.full(self.finished.shape, np.nan)
        if loss is not None and grid is not None:
            for cell in np.argwhere(np.isin(step[:, :, k], grid)):
                b, r = cell
                there[b, r] = loss[b, r, np.searchsorted(grid, step[b, r, k])]
        return curvature, there

    def plain(self) -> "Blocks":
        """The models without explicit regularization: a column for each learning rate."""
        return self._columns(self.mu == 0)

    def explicit(self) -> "Blocks":
        """The models of the smallest learning rate: a column for each μ, 0 among them."""
        return self.at_rate(float(self.learning_rate.min()))

    def at_rate(self, learning_rate: float) -> "Blocks":
        """The models of one learning rate: a column for each μ. Raises `ValueError` for another."""
        if learning_rate not in self.learning_rate:
            known = ", ".join(f"{h:g}" for h in np.unique(self.learning_rate))
            raise ValueError(f"learning_rate must be one of {known}, got {learning_rate}")
        return self._columns(self.learning_rate == learning_rate)

    def of_width(self, width: int) -> "Blocks":
        """The blocks of one width, with the steps at which any of them was measured."""
        rows = self.width == width
        values = {name: value[rows] for name, value in self.values.items()}
        shared = dict(self.shared)
        for grid, names in ALONG.items():
            there = [name for name in names if name in values]
            seen = [np.isfinite(values[name]).any(axis=(0, 1)) for name in there]
            if seen:
                used = np.any(seen, axis=0)
                shared[grid] = shared[grid][used]
                values |= {name: values[name][..., used] for name in there}
        return replace(
            self,
            width=self.width[rows],
            batch_size=self.batch_size[rows],
            seed=self.seed[rows],
            num_params=self.num_params[rows],
            full_batch=self.full_batch[rows],
            smooth=self.smooth[rows],
            num_matvecs=self.num_matvecs[rows],
            finished=self.finished[rows],
            marks={name: mark[rows] for name, mark in self.marks.items()},
            values=values,
            shared=shared,
        )

    def _columns(self, kept: np.ndarray) -> "Blocks":
        return replace(
            self,
            learning_rate=self.learning_rate[kept],
            mu=self.mu[kept],
            finished=self.finished[:, kept],
            marks={name: mark[:, kept] for name, mark in self.marks.items()},
            values={name: value[:, kept] for name, value in self.values.items()},
        )


def squared_gradient_at(
    loss: Float[np.ndarray, "*models g"],
    squared_gradient: Float[np.ndarray, "*models g"],
    level: float,
) -> Float[np.ndarray, "*models"]:
    """log ‖∇E‖² where training loss first falls below `level`, by measurements along the last axis.

    Measurements that are NaN are skipped. Between the two others around the crossing log ‖∇E‖² is
    taken as linear in log E. NaN where the loss never falls below, is below from the start, or
    either ‖∇E‖² is missing or 0.

    Source: chapter 7, *MNIST*: R_IG is compared at equal E.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _at_crossing(loss, np.log(squared_gradient), level)


def _at_crossing(
    loss: Float[np.ndarray, "*models g"], values: Float[np.ndarray, "*models g"], level: float
) -> Float[np.ndarray, "*models"]:
    """`values` where the loss first falls below `level`, linear in log E around the crossing."""
    # Where a model was not measured the loss is NaN, which is not below anything.
    below, steps = loss < level, np.arange(loss.shape[-1])
    after = np.argmax(below, axis=-1)[..., None]
    measured = np.where(np.isfinite(loss) & (steps < after), steps, -1)
    before = np.max(measured, axis=-1, initial=-1)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        (e0, e1), (v0, v1) = (
            [np.take_along_axis(a, np.maximum(at, 0), -1)[..., 0] for at in (before, after)]
            for a in (np.log(loss), values)
        )
        found = v0 + (v1 - v0) * (np.log(level) - e0) / (e1 - e0)
    return np.where((before[..., 0] >= 0) & np.isfinite(found), found, np.nan)


def area_under(
    accuracy: Float[np.ndarray, "*models k"], sigma: Float[np.ndarray, " k"]
) -> Float[np.ndarray, "*models"]:
    """The area under accuracy against noise, by trapezoids, over the range of σ: a mean accuracy.

    Source: Figure 3b; chapter 7, *MNIST*.
    """
    return np.trapezoid(accuracy, sigma, axis=-1) / (sigma[-1] - sigma[0])
