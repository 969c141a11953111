"""What the units of a profile cost: steps of single models, and seconds where some are recorded.

Source: Section 6; chapter 7, *MNIST*.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igrlib import records
from igrlib.experiments.arm import num_params, stops_of
from igrlib.experiments.mlp_sweep import Unit

__all__ = ["Past", "model_steps", "models", "past", "seconds"]

_LIKE = 4.0
"""Between units whose steps cost more than this many times one another nothing is inferred."""


@dataclass(frozen=True)
class Past:
    """A finished unit: its data set, steps, work a step, and the seconds that it took."""

    unit: str
    dataset: str
    steps: int
    work: float
    seconds: float
    device: str


def models(unit: Unit) -> int:
    """How many models a unit trains."""
    return len(unit.seeds) * len(unit.arm.learning_rates)


def model_steps(unit: Unit) -> int:
    """Steps of single models in a unit."""
    return len(unit.seeds) * sum(stops_of(unit.arm))


def past(folders: Iterable[Path]) -> list[Past]:
    """The finished units of records, those left out that cannot be read."""
    found: list[Past] = []
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.npz")):
            try:
                meta = records.load(path)[1]
                config = meta["unit_config"]
                steps = len(config["seeds"]) * sum(config["steps"].values())
                depth = config.get("depth", 5)  # Older shards had no choice.
                work = _work(config["dataset"], config["width"], depth, config["batch_size"])
                kind, took = meta["provenance"]["device"]["kind"], meta["seconds"]
            except (records.RecordError, KeyError, TypeError, AttributeError):
                continue  # Another experiment's shard, or a damaged one, tells nothing of costs.
            found.append(Past(path.stem, config["dataset"], steps, work, took, kind))
    return found


def seconds(unit: Unit, finished: Iterable[Past], device: str | None = None) -> float | None:
    """An estimate from the finished unit whose steps are most alike; None where none is like it.

    Only units of the same data set count, with `device` those of that kind. Seconds grow with the
    number of steps and, for want of anything better, with the multiplications of a step.
    """
    work = _work(unit.arm.dataset, unit.width, unit.arm.depth, unit.batch_size)
    best: tuple[float, float] | None = None
    for other in finished:
        if other.dataset != unit.arm.dataset or device not in (None, other.device):
            continue
        unlike = abs(math.log(work / other.work))
        if unlike <= math.log(_LIKE) and (best is None or unlike < best[0]):
            best = unlike, other.seconds * work / other.work * model_steps(unit) / other.steps
    return None if best is None else best[1]


def _work(dataset: Any, width: int, depth: int, batch_size: int) -> float:
    """Multiplications in a step, up to a factor: one for each example and parameter."""
    return batch_size * num_params(dataset, width, depth)
