"""Records that are made up: of a sweep with effects that are known, and what a shard tells."""

import copy
import itertools
from pathlib import Path

import numpy as np

from igrlib.experiments.records import Record, Shard

RATES = (0.1, 0.05, 0.025, 0.01, 0.005)
LEVELS = np.array([1e-1, 1e-2, 1e-3, 1e-4])
STEPS = (0, 10, 30, 100, 300, 1000, 3000)
NOISE = np.array([0.0, 0.5, 1.0, 2.0])
ORIGIN = {
    "versions": {"python": "3.11.2", "jax": "0.6.0", "flax": None},
    "device": {"kind": "cpu", "platform": "cpu", "count": 2},
    "cpus": 2,
    "commit": {"hash": "0" * 40, "dirty": False},
}
META = {
    "experiment": "mlp-sweep",
    "profile": "cpu",
    "dataset": {"name": "mnist", "fingerprint": "ab12", "sizes": {"train": 55_000, "test": 10_000}},
    "config": {"learning_rates": [0.1, 0.01], "batch_size": 32},
    "seeds": [0, 1],
    "seconds": 12.5,
    "provenance": ORIGIN,
    "diverged": [],
    "marks": {},
}
PARAMS = {"squared_gradient": 0.0, "lambda_max": 0.0, "accuracy": 0.0, "area": 0.0}


def meta(unit, **changed):
    """All that the shard of a unit tells, where nothing else is said."""
    return copy.deepcopy({**META, "unit": unit, "unit_config": {"width": 50}, **changed})


def members(seeds, rates, mus=(0.0,)):
    """Seeds, learning rates and μ of the models of a unit, in its order."""
    columns = zip(*itertools.product(seeds, rates, mus), strict=True)
    return tuple(np.array(column) for column in columns)


def made(arm, width, seeds, arrays, marks, *, batch_size=32, **config):
    """A unit of MLPs on MNIST that holds these arrays, named as the runner names it."""
    config |= {"name": arm, "width": width, "batch_size": batch_size}
    name = f"{arm}-n{width:04d}-b{batch_size:05d}-s{seeds[0]:02d}-{seeds[-1]:02d}"
    config = {"dataset": "mnist", "depth": 5, **config}
    return Shard(name, arrays, {"unit_config": config, "marks": marks})


def unit(
    width,
    seeds,
    *,
    effects=None,
    spread=0.0,
    rates=RATES,
    arm="sgd",
    points=("validation",),
    steps=STEPS,
    mus=(0.0,),
    mu_effects=None,
    validated=True,
    full_batch=False,
    activation="relu",
):
    """A unit whose quantities go with log₂ h by `effects`, with noise of `spread` besides.

    ‖∇E‖² = c·E²·e^(effect·log₂ h), with c another in each block, so that interpolation of
    logarithms is exact. Of each quantity, μ adds `mu_effects` times μ. `validated`: whether there
    was a validation split to choose by; `full_batch`: whether 32 images are the whole split.
    """
    effects, mu_effects = {**PARAMS, **(effects or {})}, {**PARAMS, **(mu_effects or {})}
    seed, h, mu = members(seeds, rates, mus)
    rng = np.random.default_rng([width, *seeds])
    block = {s: np.random.default_rng([width, s]).normal() for s in seeds}
    of_block, x = np.array([block[s] for s in seed.tolist()]), np.log2(h / 0.01)

    def noisy(name):
        exact = effects[name] * x + mu_effects[name] * mu
        return exact + spread * rng.normal(size=len(h))

    steps = np.array(steps)
    log_loss = np.log(2.3) - (0.5 + 20 * h[:, None]) * steps**0.5 / 5
    loss = np.exp(log_loss)
    at_unit_loss = np.exp(of_block + noisy("squared_gradient"))
    squared = at_unit_loss[:, None] * loss**2
    below = loss[:, None, :] < LEVELS[:, None]
    crossing = np.where(below.any(-1), steps[np.argmax(below, -1)], -1)
    lambda_max = np.exp(of_block + 2 + noisy("lambda_max"))
    accuracy = 0.97 + 0.002 * of_block + noisy("accuracy") / 100
    kept = 0.6 + 0.02 * of_block + noisy("area") / 100

    def at_points(values, where=(0, 1, 2)[not validated :]):
        full = np.full((len(h), 3, *values.shape[1:]), np.nan)
        for k in where:
            full[:, k] = values
        return full

    deep = tuple(("validation", "test", "final").index(p) for p in points)
    # Linear in σ, from a to b: the mean over σ is half their sum.
    falling = (2 * kept[:, None] - 0.1) * (1 - NOISE / 2) + 0.1 * NOISE / 2
    arrays = {
        "learning_rate": h,
        "seed": seed,
        "mu": mu,
        "diverged": np.full(len(h), -1, np.int32),
        "stop": np.full(len(h), 3000),
        "gradient_step": steps,
        "train_loss": loss,
        "train_squared_gradient": squared,
        "level": LEVELS,
        "crossing_step": crossing,
        "crossing_lambda_max": np.broadcast_to(lambda_max[:, None], (len(h), 4)).copy(),
        "chosen_train_loss": np.full((len(h), 3), 0.01),
        "chosen_step": np.full((len(h), 3), 1000),
        "chosen_lambda_max": at_points(lambda_max, deep),
        "chosen_train_squared_gradient": at_points(at_unit_loss),
        "chosen_test_accuracy": at_points(accuracy),
        "chosen_noise_accuracy": at_points(falling, deep),
        "chosen_noise_slope": at_points(np.sqrt(at_unit_loss)[:, None] * np.ones(2), deep),
        "noise_sigma": NOISE,
        "slope_sigma": np.array([0.0, 0.5]),
    }
    marks = {"fitted": list(range(len(h))), "censored_validation": [], "censored_test": []}
    config = {"points": list(points), "num_train": 32 if full_batch else 55_000}
    config |= {"activation": activation, "num_matvecs": 4}
    return made(arm, width, seeds, arrays, marks, **config)


def record(*units, directory="nowhere"):
    return Record(Path(directory), "mlp-sweep", "cpu", {u.name: u for u in units})


def sweep(widths=(50, 100), seeds=range(8), **how):
    return record(*(unit(width, tuple(seeds), **how) for width in widths))
