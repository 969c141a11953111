"""One sweep of Section 6 as a frozen configuration: what varies, how long, when measured.

A profile is a tuple of arms; each states only what differs from the default, and why.

Source: Section 6, Appendix A.5, Figures 2, 3 and A.3-A.6; chapter 7, *MNIST*.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from igrlib._checks import check_integer, one_of
from igrlib.experiments.data import IMAGE_SHAPES
from igrlib.experiments.networks import MLP, NETWORKS, Network
from igrlib.experiments.optimizers import OPTIMIZERS, SGD, Optimizer
from igrlib.experiments.schema import POINTS
from igrlib.experiments.thresholds import Thresholds
from igrlib.regularizer import matching_mu

__all__ = ["Arm", "combinations", "seeds_of", "stops_of"]

MOST_UNITS = 1_000
"""The most units of an arm: each is checked before the first runs."""

MOST_NUMBERS = 1_000_000
"""Models of a unit times steps at which they are measured, for each measure: ten times what fits
into a shard."""

_MOST_STEPS = 2**31 - 1  # Steps are counted in 32 bits.
_LEAST, _LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_COUNTED = (
    *("num_train", "min_steps", "max_steps", "score_every", "num_gradients", "first_gradient"),
    *("first_curvature", "sharpness_batches"),
)
_MOST = dict.fromkeys(_COUNTED, _MOST_STEPS) | {
    "num_matvecs": 1_000,
    "noise_draws": 100_000,
    "slope_draws": 100_000,
}


@dataclass(frozen=True)
class Arm:
    """One sweep: every combination of width, batch size, seed, learning rate and μ."""

    name: str
    dataset: Literal["digits", "mnist", "cifar10"] = "mnist"
    network: Network = field(default_factory=MLP)
    optimizer: Optimizer = field(default_factory=SGD)
    widths: tuple[int, ...] = (50, 100, 200, 400)
    """Units of each layer of an MLP, or channels of a ResNet, for a network's `build`."""
    learning_rates: tuple[float, ...] = (0.1, 0.05, 0.025, 0.01, 0.005)
    """The learning rates h of Figures A.3 to A.5; Section 6 lists others, see the errata."""
    batch_sizes: tuple[int | None, ...] = (32,)
    """None is the whole training split: gradient descent."""
    num_seeds: tuple[int, ...] = (8,)
    """How many seeds, 0, 1, …: one number, or one for each width."""
    seeds_per_unit: tuple[int, ...] = (8,)
    """Seeds trained together in a unit: one number, or one for each width."""
    num_train: int = 55_000
    """The first images of the training split; the paper does not say whether it held any out."""
    num_validation: int = 5_000
    """The last images of the training split, for choosing without the test split."""
    num_test: int | None = None
    """The first images of the test split; None is all of them, any less is for a trial."""
    min_steps: int = 60_000
    max_steps: int = 150_000
    physical_time: float = 750.0
    """A model takes T/h steps, but at least `min_steps` and at most `max_steps`."""
    score_every: int = 1_000
    """Steps between measurements of the accuracies."""
    num_gradients: int = 10
    """Measurements of whole-split gradients, evenly spread in log t from `first_gradient` over the
    first `gradient_every` steps, or over all of them where that is None."""
    first_gradient: int = 100
    gradient_every: int | None = 5_000
    """Steps between later measurements of gradients."""
    num_curvatures: int = 0
    """Measurements of the sharpness of the training split and of batches, evenly spread in log t
    from `first_curvature` to the last step; 0 for none."""
    first_curvature: int = 100
    sharpness_batches: int = 64
    """Batches whose sharpness is measured, all of them where there are fewer."""
    levels: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4)
    """Training losses, falling, at whose first crossing λ_max is measured."""
    mus: tuple[float, ...] = (0.0,)
    """The explicit regularization rates μ of equation (8)."""
    matched: bool = False
    """Whether the smallest learning rate h_s is also trained with μ = (h − h_s)/4 for each of the
    others: with the regularizer of a step h, without the long step."""
    ladder: bool = False
    """Whether every smaller learning rate h is also trained with μ = (h_L − h)/4, h_L the largest:
    with the regularizer of the largest step, without the long step."""
    mu_ratios: tuple[float, ...] = ()
    """Ratios r > 0: each learning rate is also trained with μ = r·h."""
    points: tuple[str, ...] = ("validation",)
    """Where λ_max and the effect of noise are measured."""
    num_matvecs: int = 4
    noise_draws: int = 100
    slope_sigmas: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0)
    """Standard deviations of the multiplicative noise after which the slope is measured."""
    slope_draws: int = 3
    precision: Literal["float32", "tensorfloat32"] = "float32"
    """Precision of the products in the steps; measurements are always in float32. For
    "tensorfloat32" a GPU rounds the factors to ten bits; on a CPU it changes nothing."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """The thresholds of a verdict on this arm, fixed before it runs and stored with each unit."""

    def __post_init__(self) -> None:
        _check_lengths(self)
        _check_varied(self)
        for point in self.points:
            one_of("points", point, POINTS)
        if "validation" in self.points and not self.num_validation:
            raise ValueError('points must not have "validation" where num_validation is 0')
        _check_size(self)


def stops_of(arm: Arm) -> list[int]:
    """The number of steps for each learning rate."""
    return [_stop(arm, h) for h in arm.learning_rates]


def seeds_of(arm: Arm) -> list[tuple[int, int]]:
    """The number of seeds of each width, and how many of them train together."""
    columns = (
        (values * len(arm.widths))[: len(arm.widths)]
        for values in (arm.num_seeds, arm.seeds_per_unit)
    )
    return list(zip(*columns, strict=True))


def combinations(arm: Arm) -> list[tuple[float, float, int]]:
    """The learning rate, μ and number of steps of each model of a seed, each pair once."""
    steps = dict(zip(arm.learning_rates, stops_of(arm), strict=True))
    pairs = [(h, mu) for h in arm.learning_rates for mu in arm.mus]
    if arm.matched:
        small = min(arm.learning_rates)
        pairs += [(small, matching_mu(small, h)) for h in arm.learning_rates]
    if arm.ladder:
        large = max(arm.learning_rates)
        pairs += [(h, matching_mu(h, large)) for h in arm.learning_rates]
    pairs += [(h, r * h) for r in arm.mu_ratios for h in arm.learning_rates]
    return [(h, mu, steps[h]) for h, mu in dict.fromkeys(pairs)]


def _stop(arm: Arm, learning_rate: float) -> int:
    # Between the bounds first: the quotient may be infinite.
    return round(min(max(arm.physical_time / learning_rate, arm.min_steps), arm.max_steps))


def _check_size(arm: Arm) -> None:
    """Refuse too many units or models, from the numbers alone: no list of that length is made."""
    seeds = seeds_of(arm)
    units = len(arm.batch_sizes) * sum(-(-number // together) for number, together in seeds)
    if units > MOST_UNITS:
        raise ValueError(
            f"arm {arm.name!r} has {units} units, at most {MOST_UNITS} are taken: give it fewer "
            "num_seeds, widths or batch_sizes, or more seeds_per_unit"
        )
    models = max(min(number, together) for number, together in seeds)
    models *= len(arm.learning_rates) * (
        len(arm.mus) + len(arm.mu_ratios) + arm.matched + arm.ladder
    )
    last = _stop(arm, min(arm.learning_rates))
    steps = last // arm.score_every + last // (arm.gradient_every or last) + arm.num_gradients
    steps += arm.num_curvatures * arm.sharpness_batches
    if models * steps > MOST_NUMBERS:
        raise ValueError(
            f"arm {arm.name!r} has {models} models in a unit, measured at {steps} steps: over "
            f"{MOST_NUMBERS} numbers for each measure; give it fewer seeds_per_unit, "
            "learning_rates or mus, or measure less often"
        )


def _check_varied(arm: Arm) -> None:
    """Refuse an empty tuple, a value given twice, and an impossible value."""
    one_of("dataset", arm.dataset, tuple(IMAGE_SHAPES))
    one_of("precision", arm.precision, ("float32", "tensorfloat32"))
    if type(arm.network) not in NETWORKS.values():
        raise TypeError(
            f"network must be an architecture of igrlib.experiments.networks, got {arm.network!r}"
        )
    if type(arm.optimizer) not in OPTIMIZERS.values():
        raise TypeError(
            f"optimizer must be one of igrlib.experiments.optimizers, got {arm.optimizer!r}"
        )
    several = ("widths", "learning_rates", "mus", "mu_ratios", "batch_sizes", "points")
    for name in (*several, "num_seeds", "seeds_per_unit", "levels", "slope_sigmas"):
        if not isinstance(getattr(arm, name), tuple):
            raise TypeError(f"{name} must be a tuple, got {getattr(arm, name)!r}")
    for name in several:
        values = getattr(arm, name)
        if not values and name not in ("mu_ratios", "points"):
            raise ValueError(f"{name} must have at least one entry, got none")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} must differ from one another, got {values}")
    for width in arm.widths:
        _check_count("widths", width, 1_000_000)
    for h in arm.learning_rates:
        _check_number("learning_rates", h, positive=True)
    for size in arm.batch_sizes:
        # None is all of them: only a number can be too large.
        if size is not None and check_integer("batch_sizes", size, low=1) > arm.num_train:
            raise ValueError(
                f"batch_sizes must be at most num_train, the {arm.num_train} images of the "
                f"training split, got {size}"
            )
    if None in arm.batch_sizes and arm.num_train in arm.batch_sizes:
        raise ValueError(
            "batch_sizes must differ from one another, got none, "
            f"{arm.num_train}: both are the whole training split"
        )
    for name in ("num_seeds", "seeds_per_unit"):
        values = getattr(arm, name)
        if len(values) not in (1, len(arm.widths)):
            raise ValueError(
                f"{name} must have one entry, or one for each of {len(arm.widths)} widths, "
                f"got {values}"
            )
        for number in values:
            _check_count(name, number, _MOST_STEPS)
    for mu in arm.mus:
        _check_number("mus", mu, positive=False)
    for ratio in arm.mu_ratios:
        _check_number("mu_ratios", ratio, positive=True)
    for name in ("learning_rates", "mus"):
        _check_single(name, getattr(arm, name))


def _check_lengths(arm: Arm) -> None:
    """Refuse impossible numbers of examples, steps and measurements."""
    for name, most in _MOST.items():
        _check_count(name, getattr(arm, name), most)
    for name in ("num_validation", "num_curvatures"):
        _check_count(name, getattr(arm, name), _MOST_STEPS, low=0)
    for name in ("gradient_every", "num_test"):
        if getattr(arm, name) is not None:
            _check_count(name, getattr(arm, name), _MOST_STEPS)
    _check_number("physical_time", arm.physical_time, positive=True)
    for level in arm.levels:
        _check_number("levels", level, positive=True)
    for sigma in arm.slope_sigmas:
        _check_number("slope_sigmas", sigma, positive=False)
    if list(arm.levels) != sorted(set(arm.levels), reverse=True):
        raise ValueError(f"levels must fall, got {arm.levels}")
    if arm.min_steps > arm.max_steps:
        raise ValueError(
            f"min_steps must be at most max_steps, got {arm.min_steps} and {arm.max_steps}"
        )


def _check_count(name: str, value: int, most: int, *, low: int = 1) -> None:
    if check_integer(name, value, low=low) > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")


def _check_number(name: str, value: float, *, positive: bool) -> None:
    if not (math.isfinite(value) and (value > 0 if positive else value >= 0)):
        wanted = "positive and finite" if positive else "finite and 0 or more"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def _check_single(name: str, values: tuple[float, ...]) -> None:
    """Refuse values that single precision, in which models train, lacks or cannot tell apart."""
    for value in values:
        if value and not _LEAST <= value <= _LARGEST:
            raise ValueError(
                f"{name} must be between {_LEAST:.2g} and {_LARGEST:.2g}, what single "
                f"precision holds, got {value}"
            )
    if len(set(np.asarray(values, np.float32).tolist())) != len(values):
        raise ValueError(
            f"{name} must differ from one another in single precision too, got {values}"
        )
