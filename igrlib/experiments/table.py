"""A record as an `xarray.Dataset`: the models of an arm by block and treatment.

A block is a width, a batch size and a seed: its models have the same initial values and see the
same batches at the same steps. A treatment is a learning rate h and an explicit regularization rate
μ: models of one block differ in nothing else.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from igrlib.experiments._xarray import pd, xr
from igrlib.experiments.records import Record, Shard
from igrlib.experiments.schema import ALONG, DIMENSIONS, MARKS, POINTS

__all__ = [
    "area_under_noise",
    "arms",
    "at_learning_rate",
    "at_ratio",
    "explicit",
    "missing_units",
    "of_width",
    "plain",
    "preferred",
    "table_of",
    "whole_widths",
]

_MODEL = {"learning_rate": "f", "seed": "iu", "diverged": "iu"}
"""Arrays of every unit of a sweep, one number for each model, and their NumPy kinds."""

_SHARED = ("level", "noise_sigma", "slope_sigma", "batch")
"""Coordinates that are the same in all units of an arm. Steps can differ."""

_BLOCK, _TREATMENT = ["width", "batch_size", "seed"], ["mu", "learning_rate"]


def arms(record: Record) -> list[str]:
    """The names of the swept arms with recorded units, sorted. For single runs see `path_units`."""
    swept = [shard for shard in record.units.values() if "saved_step" not in shard.arrays]
    return sorted({_arm(shard) for shard in swept})


def table_of(record: Record, arm: str) -> xr.Dataset:
    """The finished units of `arm` as one table.

    Coordinates of `block`: width, batch_size, seed, num_params, full_batch (whether a batch is the
    whole training split), smooth (whether the loss has no kinks) and num_matvecs (the Lanczos
    products of each λ_max, 0 where unknown). Coordinates of `treatment`, sorted by μ, then by h:
    learning_rate, mu and effective_rate, the step h + 4μ. The implicit regularizer of that step is
    as strong as h/4 + μ (eqs. (2) and (8)). `optimizer` names the optimizer of the arm, such as
    "sgd". The other dimensions are those of `schema.DIMENSIONS`.

    Variables: every array of `schema.DIMENSIONS`, (block, treatment, …), NaN where a model
    diverged, was not measured or does not exist; `finished`, whether the model exists; `diverged`
    and `schema.MARKS`, which are Boolean. Where units were measured at different steps, the table
    has the steps of all units.

    Raises `ValueError` where the record has no unit of `arm`, where a unit is not part of a sweep,
    where two units hold the same model, and where two units were measured or trained in ways that
    cannot be compared.

    Source: chapter 7, *MNIST*.
    """
    shards = [shard for _, shard in sorted(record.units.items()) if _arm(shard) == arm]
    if not shards:
        raise ValueError(f"arm must be one of {arms(record)}, which are recorded, got {arm!r}")
    for shard in shards:
        _check_swept(shard)
        for name in _SHARED:
            there = shards[0].arrays.get(name, np.zeros(0))
            if not np.array_equal(there, shard.arrays.get(name, np.zeros(0))):
                raise ValueError(
                    f"{name} must be the same in all units of {arm!r}, got different ones in"
                    f" {shards[0].name} and {shard.name}: put one of the two into another record"
                )
    models = xr.concat([_of_shard(shard) for shard in shards], "model", join="outer")
    keys = {}
    for dimension, names in (("block", _BLOCK), ("treatment", _TREATMENT)):
        index = pd.MultiIndex.from_arrays([models[name].values for name in names])
        number, unique = index.factorize(sort=True)
        keys |= {name: (dimension, unique.get_level_values(k)) for k, name in enumerate(names)}
        models = models.drop_vars(names).assign_coords({dimension: ("model", number)})
    models = models.set_index(model=["block", "treatment"])
    double = models.indexes["model"].duplicated()
    if double.any():
        unit = models["unit"].values[double][0]
        raise ValueError(
            f"units of {arm!r} must hold different models, got one of {unit} twice: move away one"
            " of the units that hold it"
        )
    marks = ["finished", "diverged", *MARKS]
    measured = [name for name in models.data_vars if name not in (*marks, "unit")]
    missing: Any = {**dict.fromkeys(marks, False), **dict.fromkeys(measured, np.nan)}
    table = models.drop_vars("unit").unstack("model", fill_value=missing)
    table = table.transpose("block", "treatment", ...)
    table = table.assign(table[measured].where(~table["diverged"]))
    table = table.drop_vars(["block", "treatment"]).assign_coords(keys)
    known = {_block_of(shard): _facts(shard) for shard in shards}
    facts = [known[n, size] for n, size, _ in zip(*(keys[name][1] for name in _BLOCK), strict=True)]
    for name in facts[0]:
        table = table.assign_coords({name: ("block", [of[name] for of in facts])})
    effective = table["learning_rate"] + 4 * table["mu"]
    config = shards[0].meta["unit_config"]
    optimizers = {str(shard.meta["unit_config"].get("optimizer", "sgd")) for shard in shards}
    if len(optimizers) > 1:
        raise ValueError(
            f"the units of {arm!r} must have one optimizer, got {' and '.join(sorted(optimizers))}:"
            " put the units of each into a record of their own"
        )
    table = table.assign_coords(effective_rate=effective, optimizer=optimizers.pop())
    return table.assign_attrs(arm=arm, dataset=str(config["dataset"]))


def plain(table: xr.Dataset) -> xr.Dataset:
    """The models without explicit regularization: a treatment for each learning rate."""
    return table.isel(treatment=(table["mu"] == 0).values)


def explicit(table: xr.Dataset) -> xr.Dataset:
    """The models of the smallest learning rate: a treatment for each μ, 0 among them."""
    return at_learning_rate(table, float(table["learning_rate"].min()))


def at_learning_rate(table: xr.Dataset, learning_rate: float) -> xr.Dataset:
    """The models of one learning rate: a treatment for each μ.

    Raises `ValueError` for a learning rate that the table does not have.
    """
    every = table["learning_rate"].values
    if learning_rate not in every:
        known = ", ".join(f"{h:g}" for h in np.unique(every))
        raise ValueError(f"learning_rate must be one of {known}, got {learning_rate}")
    return table.isel(treatment=every == learning_rate)


def at_ratio(table: xr.Dataset, ratio: float) -> xr.Dataset:
    """The models with μ = `ratio`·h: a treatment for each h.

    Raises `ValueError` where the table has no such model.
    """
    here = np.isclose(table["mu"].values, ratio * table["learning_rate"].values, rtol=1e-6)
    if not here.any():
        known = ", ".join(f"{r:g}" for r in np.unique(table["mu"] / table["learning_rate"]))
        raise ValueError(f"ratio must be one of the table's μ/h, {known}, got {ratio}")
    return table.isel(treatment=here)


def of_width(table: xr.Dataset, width: int) -> xr.Dataset:
    """The blocks of one width, with the steps at which at least one of them was measured."""
    table = table.isel(block=(table["width"] == width).values)
    for grid, names in ALONG.items():
        table = table.dropna(grid, how="all", subset=list(names))
    return table


def area_under_noise(table: xr.Dataset, point: str) -> xr.DataArray:
    """The mean accuracy over the recorded σ, in [0, 1], at one of `schema.POINTS`.

    This is the area under the curve of accuracy against σ, by the trapezoidal rule, divided by the
    range of σ. It is NaN where nothing was measured, or at fewer than two σ.

    Source: Figure 3b; chapter 7, *MNIST*.
    """
    accuracy, sigma = table["chosen_noise_accuracy"].sel(point=point), table["noise_sigma"]
    if sigma.size < 2:
        return xr.full_like(table["stop"], np.nan)
    return accuracy.integrate("noise_sigma") / (sigma[-1] - sigma[0])


def missing_units(record: Record, arm: str) -> tuple[str, ...]:
    """The names of the units of `arm` that the record expects and does not have, sorted.

    The tuple is empty where the record does not say which units it expects (`Record.expected`).
    """
    # Names of units are <arm>-n<width>-b<batch size>-s<seeds>.
    ours = {name for name in record.expected or () if name.rsplit("-n", 1)[0] == arm}
    return tuple(sorted(ours - set(record.units)))


def whole_widths(record: Record, arm: str) -> tuple[int, ...]:
    """The recorded widths of `arm`, ascending, at which no unit is missing."""
    here = {_block_of(shard)[0] for shard in record.units.values() if _arm(shard) == arm}
    gone = {int(name[len(arm) + 2 :].split("-")[0]) for name in missing_units(record, arm)}
    return tuple(sorted(here - gone))


def preferred(
    found: Mapping[str, Record], arm: str, profiles: Iterable[str], *, widths: int = 1
) -> Record:
    """The record of the first of `profiles` that is whole at `widths` or more widths of `arm`.

    `found` comes from `records.open_records`. Figures show the paper's size where it is recorded,
    and otherwise the next profile. Raises `ValueError` where no record has so many whole widths.

    Source: chapter 7, *MNIST*.
    """
    profiles = tuple(profiles)
    for profile in profiles:
        if profile in found and len(whole_widths(found[profile], arm)) >= widths:
            return found[profile]
    raise ValueError(
        f"profiles must name a record that is whole at {widths} widths of arm {arm!r}, got"
        f" {', '.join(profiles)}; recorded are {', '.join(found) or 'none'}: run the missing units"
    )


def _arm(shard: Shard) -> str:
    return str(shard.meta["unit_config"].get("name"))


def _block_of(shard: Shard) -> tuple[int, int]:
    config = shard.meta["unit_config"]
    return int(config["width"]), int(config["batch_size"])


def _check_swept(shard: Shard) -> None:
    """Refuse a unit that is not part of a sweep before anything else reads it."""
    config, arrays = shard.meta["unit_config"], shard.arrays
    missing = [name for name in ("width", "batch_size", "dataset") if name not in config]
    missing += [name for name in _MODEL if name not in arrays]
    if missing:
        raise ValueError(
            f"unit {shard.name} must be part of a sweep, got no {missing[0]} in it: for a single"
            " run call igrlib.experiments.path_table.path_of"
        )
    for name, kinds in _MODEL.items():
        array = arrays[name]
        if array.dtype.kind not in kinds or array.shape != (arrays["seed"].size,):
            raise ValueError(
                f"{name} of unit {shard.name} must be one number for each of"
                f" {arrays['seed'].size} models, got {array.dtype} of shape {array.shape}"
            )
    h = arrays["learning_rate"]
    if not (np.isfinite(h) & (h > 0)).all():
        raise ValueError(f"learning_rate of unit {shard.name} must be positive and finite, got {h}")


def _of_shard(shard: Shard) -> xr.Dataset:
    """The models of a unit: every array of `DIMENSIONS` and all other numbers of each model."""
    arrays, number = shard.arrays, shard.arrays["seed"].size
    width, batch_size = _block_of(shard)
    coordinates: dict[str, Any] = {"point": list(POINTS)}
    for name in (*ALONG, *_SHARED):
        coordinates[name] = arrays.get(name, np.zeros(0))
    sizes = {name: len(values) for name, values in coordinates.items()}
    of_model: dict[str, Any] = {
        "unit": np.full(number, shard.name),
        "width": np.full(number, width),
        "batch_size": np.full(number, batch_size),
        "seed": arrays["seed"],
        "learning_rate": arrays["learning_rate"],
        "mu": arrays.get("mu", np.zeros(number)),
        "finished": np.ones(number, bool),
        "diverged": arrays["diverged"] >= 0,
        **{mark: _marked(shard, mark) for mark in MARKS},
    }
    variables: dict[str, Any] = {name: ("model", values) for name, values in of_model.items()}
    apart = {*coordinates, *_MODEL, "mu", "score_done"}
    for name in (*DIMENSIONS, *sorted(arrays.keys() - DIMENSIONS.keys() - apart)):
        dimensions = DIMENSIONS.get(name, ())
        wanted = (number, *(sizes[d] for d in dimensions))
        # An array has a place only if its steps, levels or σ are recorded too.
        placed = name in arrays and {*dimensions, "point"} <= {*arrays, "point"}
        array = arrays[name] if placed else np.full(wanted, np.nan)
        if array.dtype.kind not in "biuf" or array.shape[:1] != (number,):
            raise ValueError(
                f"{name} of unit {shard.name} must be numbers with the axis of {number} models"
                f" first, got {array.dtype} of shape {array.shape}"
            )
        if array.shape != wanted:
            raise ValueError(
                f"{name} of unit {shard.name} must be of shape {wanted}, got {array.shape}"
            )
        variables[name] = (("model", *dimensions), np.asarray(array, np.float64))
    return xr.Dataset(variables, coordinates)


def _marked(shard: Shard, mark: str) -> np.ndarray:
    """Which models of a unit have a mark, Boolean of shape (models,)."""
    members, number = shard.meta["marks"].get(mark, []), shard.arrays["seed"].size
    if not isinstance(members, list) or any(
        isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < number for k in members
    ):
        raise ValueError(
            f"{mark} of unit {shard.name} must be models between 0 and {number - 1}, got {members}"
        )
    return np.isin(np.arange(number), members)


def _facts(shard: Shard) -> dict[str, Any]:
    """Further coordinates of a block. Nothing is assumed where the configuration is silent."""
    config = shard.meta["unit_config"]
    return {
        "num_params": _num_params(shard),
        "full_batch": config["batch_size"] == config.get("num_train"),
        "smooth": _is_smooth(config),
        "num_matvecs": config.get("num_matvecs", 0),
    }


def _num_params(shard: Shard) -> int:
    config = shard.meta["unit_config"]
    if "num_params" in config:
        return int(config["num_params"])
    # Older units do not hold m: build the network and count.
    from igrlib.experiments.networks import recorded_params

    try:
        return recorded_params(config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"unit {shard.name} must have a network of known size: {error}") from error


def _is_smooth(config: dict[str, Any]) -> bool:
    if "smooth" in config:
        return bool(config["smooth"])
    from igrlib.experiments.networks import NETWORKS, network_of

    return config.get("model", "mlp") in NETWORKS and network_of(config).smooth
