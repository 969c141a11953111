"""What the units of a profile cost: steps of single models, and seconds where some are recorded.

Source: Section 6; chapter 7, *MNIST*.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igrlib.experiments.arm import combinations
from igrlib.experiments.networks import recorded_params
from igrlib.experiments.units import Unit
from igrlib.records.record import load_unit

__all__ = ["Past", "model_steps", "models", "past", "seconds"]

_LIKE = 4.0
"""Between units whose steps cost more than this many times one another nothing is inferred."""


_REGULARIZED = 2.5
"""What a step on E + μ‖∇E‖² costs, in steps on E: between 2 and 3, see `make bench`."""


@dataclass(frozen=True)
class Past:
    """A finished unit: its data set, model, steps, work a step, and the seconds that it took."""

    unit: str
    dataset: str
    model: str
    steps: int
    work: float
    seconds: float
    device: str


def models(unit: Unit) -> int:
    """How many models a unit trains."""
    return len(unit.seeds) * len(combinations(unit.arm))


def model_steps(unit: Unit) -> int:
    """Steps of single models in a unit."""
    return len(unit.seeds) * sum(stop for *_, stop in combinations(unit.arm))


def past(folders: Iterable[Path]) -> list[Past]:
    """The finished units of records, those left out that cannot be read."""
    found: list[Past] = []
    for folder in folders:
        for path in sorted(folder.glob("[!.]*.npz")):
            # Another experiment's shard, or a damaged or forged one, tells nothing of costs.
            with suppress(ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
                arrays, meta = load_unit(path)
                config = meta["unit_config"]
                steps, work = int(arrays["stop"].sum()), float(_work(config))
                dataset, model = config["dataset"], config.get("model", "mlp")
                kind, took = meta["provenance"]["device"]["kind"], float(meta["seconds"])
                if steps > 0 and 0 < work < math.inf:
                    found.append(Past(path.stem, dataset, model, steps, work, took, kind))
    return found


def seconds(unit: Unit, finished: Iterable[Past], device: str | None = None) -> float | None:
    """An estimate from the finished unit whose steps are most alike; None where none is like it.

    Only units of the same data set and model count, with `device` those of that kind. Seconds grow
    with the number of steps and, for want of anything better, with the multiplications of a step.
    """
    work, arm = _work(unit.config()), unit.arm
    best: tuple[float, float] | None = None
    for other in finished:
        alike = (other.dataset, other.model) == (arm.dataset, arm.network.kind)
        if not alike or device not in (None, other.device):
            continue
        unlike = abs(math.log(work / other.work))
        if unlike <= math.log(_LIKE) and (best is None or unlike < best[0]):
            best = unlike, other.seconds * work / other.work * model_steps(unit) / other.steps
    return None if best is None else best[1]


def _work(config: Mapping[str, Any]) -> float:
    """Multiplications in a step, up to a factor: one for each example and parameter."""
    regularized = any(config.get("mus", ())) or config.get("matched", False)
    return config["batch_size"] * recorded_params(config) * (_REGULARIZED if regularized else 1)
