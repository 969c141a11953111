"""A record's models of one arm, read into a table.

Source: Section 6; chapter 7, *MNIST*.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from igrlib.experiments.blocks.table import Blocks
from igrlib.experiments.records import Record, Shard
from igrlib.experiments.schema import ALONG, MARKS

__all__ = ["arms", "blocks", "dataset_of", "missing_units", "not_whole"]

SHARED = ("level", "noise_sigma", "slope_sigma")
"""Arrays that all models of an arm have in common."""

_WHOSE = {"learning_rate": "f", "seed": "iu", "diverged": "iu"}
"""Every unit of a sweep has these, one for each model, of numbers of this kind."""


def arms(record: Record) -> list[str]:
    """The names of the arms of which units are recorded."""
    return sorted({_arm(unit) for unit in record.units.values()})


def blocks(record: Record, arm: str) -> Blocks:
    """The finished units of `arm` as one table.

    Units may have been measured at different steps: then the steps are those of all of them, with
    NaN where a unit was not measured.

    Raises `ValueError` where the record has none, where a unit is not one of a sweep, or where two
    of them hold the same model or were measured in ways that cannot be compared.

    Source: chapter 7, *MNIST*.
    """
    units = [unit for _, unit in sorted(record.units.items()) if _arm(unit) == arm]
    if not units:
        raise ValueError(f"arm must be one of {arms(record)}, which are recorded, got {arm!r}")
    for unit in units:
        _check_swept(unit)
    keys = sorted({(*block, s) for u in units for block in [_block(u)] for s in _seeds(u)})
    columns = np.unique(np.concatenate([_columns(unit) for unit in units]), axis=0)
    shape = (len(keys), len(columns))
    finished, values = np.zeros(shape, bool), {}
    marks = {name: np.zeros(shape, bool) for name in ("diverged", *MARKS)}
    shared = _shared(units)
    for unit in units:
        rows = [keys.index((*_block(unit), seed)) for seed in unit.arrays["seed"].tolist()]
        same = (columns[None, :] == _columns(unit)[:, None]).all(axis=-1)
        cells = (np.array(rows), np.argmax(same, axis=1))
        if finished[cells].any() or np.unique(cells, axis=1).shape[1] < len(rows):
            raise ValueError(
                f"unit {unit.name} holds a model that the record of {arm!r} has already"
            )
        finished[cells] = True
        marks["diverged"][cells] = unit.arrays["diverged"] >= 0
        for name in MARKS:
            members = _members(unit, name)
            marks[name][cells[0][members], cells[1][members]] = True
        for name, array in _of_models(unit, shared):
            filled = np.full((*shape, *array.shape[1:]), np.nan)
            table = values.setdefault(name, filled)
            if table.shape != filled.shape:
                raise ValueError(f"{name} of unit {unit.name} is not shaped as in the other units")
            table[cells] = array
    for table in values.values():
        table[marks["diverged"]] = np.nan
    width, batch_size, seed = (np.array(column) for column in zip(*keys, strict=True))
    sizes = {_block(unit)[0]: _size(unit) for unit in units}
    facts = {_block(unit): _facts(unit) for unit in units}
    told = [facts[key[:2]] for key in keys]
    mu, h = columns.T
    return Blocks(
        arm,
        width,
        batch_size,
        seed,
        num_params=np.array([sizes[n] for n in width.tolist()]),
        full_batch=np.array([full for full, _, _ in told]),
        smooth=np.array([smooth for _, smooth, _ in told]),
        num_matvecs=np.array([number for _, _, number in told]),
        learning_rate=h,
        mu=mu,
        finished=finished,
        marks=marks,
        values=values,
        shared=shared,
    )


def dataset_of(record: Record, arm: str) -> str:
    """The name of the data set of an arm, "" where no unit tells."""
    units = (unit for unit in record.units.values() if _arm(unit) == arm)
    return str(next((unit.meta["unit_config"].get("dataset", "") for unit in units), ""))


def missing_units(record: Record, arm: str) -> tuple[str, ...]:
    """The units of `arm` that the record was to have when it was opened, and that are not there.

    Where nobody has said what it is to have, none can be named: see `not_whole`.
    """
    # A unit is named <arm>-n<width>-b<batch size>-s<seeds>.
    ours = {name for name in record.expected or () if name.rsplit("-n", 1)[0] == arm}
    return tuple(sorted(ours - set(record.units)))


def not_whole(record: Record, arm: str) -> str:
    """Why a record must not be judged by `arm` yet, in a sentence; "" where nothing is missing."""
    if record.expected is None:
        return "Which units there are to be nobody has said: igr run does."
    missing = missing_units(record, arm)
    return f"Not yet run: {', '.join(missing)}." if missing else ""


def _num_params(unit: Shard) -> int:
    config = unit.meta["unit_config"]
    if "num_params" in config:
        return int(config["num_params"])
    # Only older units have to be counted, and only for that a network is needed.
    from igrlib.experiments.networks import recorded_params

    return recorded_params(config)


def _arm(unit: Shard) -> str:
    return str(unit.meta["unit_config"].get("name"))


def _block(unit: Shard) -> tuple[int, int]:
    config = unit.meta["unit_config"]
    return int(config["width"]), int(config["batch_size"])


def _columns(unit: Shard) -> np.ndarray:
    """(models, 2), μ and the learning rate of each."""
    rate = unit.arrays["learning_rate"]
    return np.stack([unit.arrays.get("mu", np.zeros(len(rate))), rate], axis=1)


def _seeds(unit: Shard) -> list[int]:
    return unit.arrays["seed"].tolist()


def _check_swept(unit: Shard) -> None:
    """A unit of another kind, or one that somebody made, is refused before anything is read."""
    missing = [
        name for name in ("width", "batch_size", "dataset") if name not in unit.meta["unit_config"]
    ]
    missing += [name for name in _WHOSE if name not in unit.arrays]
    if missing:
        raise ValueError(f"unit {unit.name} is not one of a sweep: it has no {missing[0]}")
    number = unit.arrays["seed"].size
    for name, kinds in _WHOSE.items():
        array = unit.arrays[name]
        if array.dtype.kind not in kinds or array.shape != (number,):
            raise ValueError(f"{name} of unit {unit.name} is not one number for each model")
    rate = unit.arrays["learning_rate"]
    if not (np.isfinite(rate) & (rate > 0)).all():
        raise ValueError(f"learning_rate of unit {unit.name} must be positive and finite")


def _members(unit: Shard, mark: str) -> np.ndarray:
    """The models of a unit with a mark."""
    members, number = unit.meta["marks"].get(mark, []), len(unit.arrays["seed"])
    if not isinstance(members, list) or any(
        isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < number for k in members
    ):
        raise ValueError(
            f"{mark} of unit {unit.name} must be models between 0 and {number - 1}, got {members}"
        )
    return np.array(members, int)


def _facts(unit: Shard) -> tuple[bool, bool, int]:
    """Whether batches are the whole split, the loss has no kinks; products for each λ_max.

    What nobody has said is not taken for granted.
    """
    config = unit.meta["unit_config"]
    smooth = config.get("model", "mlp") == "mlp" and config.get("activation") == "tanh"
    return config["batch_size"] == config.get("num_train"), smooth, config.get("num_matvecs", 0)


def _size(unit: Shard) -> int:
    try:
        return _num_params(unit)
    except (KeyError, TypeError) as error:
        raise ValueError(f"unit {unit.name} has a network of unknown size: {error}") from error


def _shared(units: Sequence[Shard]) -> dict[str, np.ndarray]:
    """What the units have in common, and the steps at which any of them was measured."""
    first = units[0]
    shared = {name: first.arrays[name] for name in SHARED if name in first.arrays}
    for name, array in shared.items():
        for unit in units[1:]:
            if not np.array_equal(array, unit.arrays.get(name, np.zeros(0))):
                raise ValueError(f"{name} of unit {unit.name} is not that of the other units")
    for grid in ALONG:
        steps = [unit.arrays[grid] for unit in units if grid in unit.arrays]
        if steps:
            shared[grid] = np.unique(np.concatenate(steps))
    return shared


def _of_models(unit: Shard, shared: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays with a row for each model, as floating-point numbers at the common steps."""
    along = {name: grid for grid, names in ALONG.items() for name in names}
    for name, array in unit.arrays.items():
        if name in (*SHARED, *ALONG, *_WHOSE, "mu", "score_done"):
            continue
        if array.dtype.kind not in "biuf" or array.shape[:1] != unit.arrays["seed"].shape:
            raise ValueError(f"{name} of unit {unit.name} is not numbers for each model")
        values = np.asarray(array, np.float64)
        if grid := along.get(name):
            at = np.searchsorted(shared[grid], unit.arrays[grid])
            placed = np.full((len(values), len(shared[grid])), np.nan)
            placed[:, at] = values
            values = placed
        yield name, values
