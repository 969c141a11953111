"""How the models of a unit lie on the devices: what is known, and what a trial of each way finds.

A CPU does best with one model at a time, and with convolutions outside of loops. Dense layers are
taken all together elsewhere; for convolutions nothing is known there beforehand.

Source: Section 6 and Appendix A.5; chapter 8, *ResNet-18*.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from igrlib import records
from igrlib.data import Dataset
from igrlib.experiments.arm import combinations
from igrlib.experiments.building import ensemble_of
from igrlib.experiments.costs import models
from igrlib.experiments.preflight import check_unit
from igrlib.experiments.units import Unit
from igrlib.storage.files import atomic_write
from igrlib.training import Layout

__all__ = ["candidates", "chosen_layout", "layout_of", "seconds_of"]

TRIAL = 1.0
"""Seconds that the steps of a trial should take, compiling apart."""


def layout_of(unit: Unit, devices: Sequence[Any] | None = None) -> Layout:
    """How a unit lies on `devices`, by default all, where nothing is tried.

    Never more devices than models. With convolutions on a GPU it is the way that takes the least
    memory, one model at a time.
    """
    return next(iter(candidates(unit, devices).values()))


def candidates(unit: Unit, devices: Sequence[Any] | None = None) -> dict[str, Layout]:
    """The layouts worth a trial by name, the one that takes the least memory first.

    Only one where it is known which is best.
    """
    found = list(jax.devices() if devices is None else devices)[: models(unit)]
    mesh = Mesh(np.array(found), ("models",))
    convolutions, all_of_them = unit.arm.model == "resnet18", -(-models(unit) // len(found))
    if found[0].platform == "cpu":
        return {"known": Layout(mesh, group=1, loop=not convolutions)}
    if not convolutions:
        return {"known": Layout(mesh, group=all_of_them)}
    return {
        f"{'together' if group > 1 else 'one by one'}, {'in a loop' if loop else 'step by step'}": (
            Layout(mesh, group=group, loop=loop)
        )
        for group in sorted({1, all_of_them})
        for loop in (True, False)
    }


def chosen_layout(
    unit: Unit,
    dataset: Dataset,
    folder: Path,
    *,
    layouts: Mapping[str, Layout] | None = None,
    seconds: Callable[[Unit, Dataset, Layout], float] | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[Layout, dict[str, float | None]]:
    """The layout in which steps are quickest, of `layouts`, by default `candidates`.

    With it the seconds that a step of a model takes in each, None where that did not fit, and
    nothing where there was no choice. They are kept in `folder` for all units that differ in
    nothing but seeds and rates: a unit that was stopped goes on in the layout that it began in.
    `seconds` times a layout, by default `seconds_of`; `say` hears of every trial. Raises
    `MemoryError` where none fits.

    Source: Appendix A.5; chapter 8, *ResNet-18*.
    """
    layouts, seconds = layouts or candidates(unit), seconds or seconds_of
    if len(layouts) == 1:
        return next(iter(layouts.values())), {}
    about = _about(unit, dataset, next(iter(layouts.values())))
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / f"layout-{name}.json"
    # Asked every time: how much memory is free may change, how long a step takes does not.
    fitting = [name for name, layout in layouts.items() if _fits(unit, dataset, layout)]
    found = _kept(path, fitting)
    if not found:
        for name, layout in layouts.items():
            took = _tried(seconds, unit, dataset, layout) if name in fitting else None
            found[name] = took
            told = f"{1e3 * took:.3g} ms for a step of a model" if took else "does not fit"
            say(f"{models(unit)} models {name}: {told}")
        if not any(found.values()):
            raise MemoryError(f"unit {unit.name} fits the device's memory in no layout")
        kept = {name: found[name] for name in fitting}
        text = json.dumps({"of": about, "seconds": kept}, indent=1)
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda file: file.write(text.encode()))
    best = min(found, key=lambda name: found[name] or math.inf)
    return layouts[best], {name: found.get(name) for name in layouts}


def seconds_of(unit: Unit, dataset: Dataset, layout: Layout) -> float:
    """Seconds for a step of one model in a layout, compiling apart: the better of two trials."""
    ensemble = ensemble_of(unit, dataset, layout)

    def took(num_steps: int) -> float:
        start = jax.block_until_ready(ensemble.init())
        began = time.perf_counter()
        jax.block_until_ready(ensemble.advance(start, 0, num_steps))
        return (time.perf_counter() - began) / num_steps

    took(1)  # The first one compiles.
    # Beyond its last step a model costs nothing.
    num_steps = max(1, min(round(TRIAL / 2 / took(1)), *ensemble.members.stops))
    return min(took(num_steps), took(num_steps)) / models(unit)


def _about(unit: Unit, dataset: Dataset, layout: Layout) -> dict[str, Any]:
    """What the time of a step hangs on, as JSON."""
    origin = records.provenance()
    return {
        "model": [unit.arm.model, unit.arm.stem, unit.width],
        "images": [dataset.name, unit.arm.num_train, unit.batch_size],
        "models": models(unit),
        "regularized": any(mu for _, mu, _ in combinations(unit.arm)),
        "devices": layout.mesh.size,
        "device": origin["device"],
        "versions": origin["versions"],
    }


def _kept(path: Path, layouts: Iterable[str]) -> dict[str, float | None]:
    """Seconds by layout that were found before; empty where there are none, or none to be read."""
    try:
        found = json.loads(path.read_bytes())["seconds"]
        kept = {name: None if found[name] is None else float(found[name]) for name in layouts}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    times = [value for value in kept.values() if value is not None]
    return kept if times and all(math.isfinite(t) and t > 0 for t in times) else {}


def _tried(
    seconds: Callable[[Unit, Dataset, Layout], float], unit: Unit, dataset: Dataset, layout: Layout
) -> float | None:
    try:
        return seconds(unit, dataset, layout)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return None
        raise


def _fits(unit: Unit, dataset: Dataset, layout: Layout) -> bool:
    # A step may fit where λ_max, or the chosen copies, do not.
    try:
        check_unit(unit, dataset, layout)
    except MemoryError:
        return False
    return True
