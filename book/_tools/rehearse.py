"""Execute the chapters that read records beside made-up records of the paper's own size.

    python book/_tools/rehearse.py                       every chapter that reads records
    python book/_tools/rehearse.py book/resnet.ipynb     these

A copy of the book, under _build/rehearsal/book, gets a complete record of each profile for a GPU.
Its numbers are made up from those recorded at other sizes, so its findings mean nothing: a claim
that fails is told, and the chapter goes on. Every other error is a fault of the chapter, and makes
the exit status 1.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient

from igrlib.experiments import records, runner
from igrlib.experiments.arm import combinations
from igrlib.experiments.building import schedule_of
from igrlib.experiments.evaluation import Evaluation
from igrlib.experiments.following import marks_of
from igrlib.experiments.networks import num_params
from igrlib.experiments.paths import PathUnit
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.schema import ALONG, DIMENSIONS, POINTS, empty_arrays

BOOK = Path(__file__).resolve().parents[1]
COPY = BOOK.parent / "_build" / "rehearsal" / "book"
PROFILES = ("gpu", "paper")
NOISE = 0.02  # Relative, of the made-up numbers.
ORIGIN = {
    "versions": {"igrlib": "made up"},
    "device": {"kind": "made up", "platform": "none", "count": 1},
    "cpus": None,
    "commit": {"hash": 40 * "0", "dirty": True},
    "precision": "default",
    "xla_flags": [],
}
# Measured at the points that an arm asks for, and at no other.
DEEP = ("chosen_lambda_max", "chosen_batch", "chosen_noise")
CLAIM = "a claim that fails: "
# What a chapter claims of the real record must not stop the cell.
GO_ON = f"""
import ast

class GoOn(ast.NodeTransformer):
    def visit_Assert(self, node):
        told = {CLAIM!r} + ast.unparse(node)
        body = f"try:\\n    pass\\nexcept AssertionError:\\n    print({{told!r}})"
        (kept,) = ast.parse(body).body
        kept.body = [node]
        return ast.fix_missing_locations(ast.copy_location(kept, node))

    def visit_Expr(self, node):
        asserts = ast.unparse(node).startswith("np.testing.assert_")
        return self.visit_Assert(node) if asserts else self.generic_visit(node)

get_ipython().ast_transformers.append(GoOn())
"""


def shards_in(results):
    """Every recorded unit of a folder of results."""
    folders = sorted(path.parent for path in results.glob("*/manifest.json"))
    return [shard for one in folders for shard in records.open_record(one).units.values()]


def make_up(results, recorded, experiment, profile):
    """Put a complete record of a profile into `results`, made up from shards that are recorded."""
    if results.resolve() == BOOK / "results":
        raise ValueError("results must be a copy: in the book's own nothing is made up")
    folder = results / f"{experiment}-{profile}"
    units = runner.units(EXPERIMENTS[experiment][profile])
    with tempfile.TemporaryDirectory(dir=results.parent) as scratch:
        made = Path(scratch) / "made"
        for unit in units:
            arrays, meta = made_up(unit, recorded, experiment, profile)
            records.add_unit(made, unit.name, arrays, meta)
            # A manifest of one shard is quick to make. The manifest of all shards is made once.
            (made / f"{unit.name}.npz").rename(Path(scratch) / f"{unit.name}.npz")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path in Path(scratch).glob("*.npz"):
            path.rename(folder / path.name)
    records.rebuild_manifest(folder, expected_units=[unit.name for unit in units])
    return records.open_record(folder)


def made_up(unit, recorded, experiment, profile):
    """The arrays of a unit, from the shards most like it, and its metadata."""
    arm = unit.arm
    is_path = isinstance(unit, PathUnit)
    alike = [s for s in recorded if ("saved_step" in s.arrays) == is_path]
    alike = [s for s in alike if s.meta["unit_config"].get("model", "mlp") == arm.network.kind]
    rng = np.random.default_rng([unit.width, *unit.name.encode()])
    arrays = (path if is_path else sweep)(unit, sorted(alike, key=unlike(unit, experiment)), rng)
    diverged = [
        {"member": k, "step": step}
        for k, step in enumerate(arrays["diverged"].tolist())
        if step >= 0
    ]
    laid = {} if is_path else {"devices": 1, "group": 1, "loop": True}
    m = num_params(arm.network, unit.width, arm.dataset)
    return arrays, {
        "experiment": experiment,
        "profile": profile,
        "unit": unit.name,
        "dataset": next(
            s.meta["dataset"] for s in recorded if s.meta["dataset"]["name"] == arm.dataset
        ),
        "config": {"model": arm.network.label, "loss": "cross entropy"},
        "unit_config": unit.config() | laid | {"num_params": m, "smooth": arm.network.smooth},
        "seeds": list(unit.seeds),
        "seconds": 1.0,
        "provenance": ORIGIN,
        "diverged": diverged,
        "marks": marks_of(arrays) if is_path else marks(arrays),
    }


def unlike(unit, experiment):
    """How little a shard is like a unit, as a key to sort by."""
    mine = unit.config()

    def key(shard):
        config = shard.meta["unit_config"]
        other = [config.get(name) != mine.get(name) for name in ("dataset", "activation")]
        other += [is_full(config) != is_full(mine)]
        apart = abs(np.log(config["width"] / unit.width)) + abs(np.log(last(config) / last(mine)))
        apart += 2 * (shard.meta["experiment"] != experiment) + (config["name"] != mine["name"])
        return *other, apart, len({*unit.seeds} - {*shard.meta["seeds"]}), shard.name

    return key


def is_full(config):
    return config.get("batch_size", config["num_train"]) == config["num_train"]


def last(config):
    """The most steps of a model."""
    steps = config["steps"]
    return max(steps.values()) if isinstance(steps, dict) else steps


def sweep(unit, shards, rng):
    """Every array of `schema.DIMENSIONS` for the models of a unit."""
    arm, schedule, evaluation = unit.arm, schedule_of(unit.arm), Evaluation()
    models = [(h, mu, seed, stop) for seed in unit.seeds for h, mu, stop in combinations(arm)]
    arrays = empty_arrays(
        len(models),
        scores=schedule.scores,
        gradients=schedule.gradients,
        levels=schedule.levels,
        noise_sigmas=evaluation.noise_sigmas,
        slope_sigmas=arm.slope_sigmas,
        validation=arm.num_validation > 0,
        normalized="evaluated_loss" in shards[0].arrays,
        curvatures=schedule.curvatures,
        batches=min(arm.sharpness_batches, arm.num_train // unit.batch_size),
    )
    arrays["learning_rate"], arrays["mu"], arrays["seed"], arrays["stop"] = map(
        np.array, zip(*models, strict=True)
    )
    arrays["score_done"][:] = True
    for k, (h, mu, seed, stop) in enumerate(models):
        twins = [(shard.arrays, twin(shard.arrays, h, mu, seed)) for shard in shards]
        first, there = twins[0]
        if first["diverged"][there] >= 0:
            share = first["diverged"][there] / first["stop"][there]
            arrays["diverged"][k] = max(1, round(share * stop))
        for name in arrays.keys() & DIMENSIONS.keys() - {"stop"}:
            if name.endswith("step"):
                continue
            # Of what no run of this network measured, a number of the same kind.
            for like in (name, name.replace("batch_sharpness", "lambda_max")):
                found = (values(like, of, at, arrays, stop) for of, at in twins if like in of)
                whole = next((one for one in found if np.isfinite(one).any()), None)
                if whole is not None:
                    arrays[name][k] = noisy(name, whole, rng)
                    break
    return finished(unit, arrays)


def twin(arrays, h, mu, seed):
    """The model of a shard that is most like one with these."""
    rates = arrays["learning_rate"]
    effective = rates + 4 * arrays.get("mu", 0 * rates)
    apart = abs(np.log(rates / h)) + abs(np.log(effective / (h + 4 * mu)))
    # All seeds have the same rates.
    return int((apart + 1e-9 * (arrays["seed"] != seed)).argmin())


def values(name, source, member, wanted, stop):
    """An array of a model, read off at the steps, levels, noise or points of another."""
    given, dimensions = source[name][member], DIMENSIONS[name]
    for axis, dimension in enumerate(dimensions):
        if dimension == "point" or given.size == 0:
            continue
        if dimension not in source:
            return np.full(wanted[name].shape[1:], np.nan)
        old, new = (np.asarray(one[dimension], float) for one in (source, wanted))
        if dimension in ALONG:
            old, new = old / source["stop"][member], new / stop
        if dimension == "level":
            old, new = -np.log(old), -np.log(new)
        given = np.apply_along_axis(read_off, axis, given, old, new)
    if "point" in dimensions and np.isfinite(given).any():
        gone = np.isnan(given).reshape(len(POINTS), -1).all(1)
        given = given.copy()
        given[gone] = given[~gone][-1]
    return given


def read_off(values, old, new):
    there = np.isfinite(values)
    return np.interp(new, old[there], values[there]) if there.any() else np.full(len(new), np.nan)


def noisy(name, values, rng):
    """`values` with noise; an accuracy stays one, and a seed has one start."""
    factor = np.exp(NOISE * rng.normal(size=np.shape(values)))
    if name == "norm":
        return values
    whole = (
        1 - (1 - values) * factor if "accuracy" in name and "sd" not in name else values * factor
    )
    # As coarse as measured numbers, which compress better.
    whole = np.asarray(whole, np.float32)
    return np.clip(whole, 0, 1) if "accuracy" in name else whole


def finished(unit, arrays):
    """Take away what a run would not have, and choose its best models."""
    for grid, names in ALONG.items():
        if grid not in arrays:
            continue
        end = np.where(arrays["diverged"] < 0, arrays["stop"] + 1, arrays["diverged"])
        over = arrays[grid] >= end[:, None]
        for name in arrays.keys() & {*names, "batch_lambda_max" if grid[0] == "c" else ""}:
            arrays[name][over] = np.nan
    below = arrays["train_loss"][:, :, None] < arrays["level"]
    first = arrays["gradient_step"][below.argmax(1)]
    arrays["crossing_step"] = np.where(below.any(1), first, -1)
    # A model that falls through two levels at once is measured once.
    once = np.diff(arrays["crossing_step"], axis=1, append=-2) != 0
    measured = (arrays["crossing_step"] >= 0) & once
    for name, array in arrays.items():
        if name.startswith("crossing_") and not name.endswith("step"):
            array[~measured] = np.nan
    for column, split in enumerate(POINTS[:2]):
        accuracy = np.nan_to_num(arrays.get(f"{split}_accuracy", np.zeros((1, 1))), nan=-1)
        if f"{split}_accuracy" in arrays:
            arrays["chosen_step"][:, column] = arrays["score_step"][accuracy.argmax(1)]
            arrays[f"chosen_{split}_accuracy_then"] = accuracy.max(1)
    arrays["chosen_step"][:, 2] = np.where(arrays["diverged"] < 0, arrays["stop"], -1)
    for name, array in arrays.items():
        if "point" in DIMENSIONS.get(name, ()) and name != "chosen_step":
            array[arrays["chosen_step"] < 0] = np.nan
            if name.startswith(DEEP):
                array[:, [point not in unit.arm.points for point in POINTS]] = np.nan
    return arrays


def marks(arrays):
    """As the runner has them: who was best at the end, and who fitted everything."""
    late = arrays["chosen_step"][:, :2] > 0.9 * arrays["stop"][:, None]
    fitted = np.nan_to_num(arrays["train_accuracy"]).max(1) == 1
    found = dict(zip(("censored_validation", "censored_test"), late.T, strict=True))
    return {
        name: np.flatnonzero(one).tolist() for name, one in (found | {"fitted": fitted}).items()
    }


def path(unit, shards, rng):
    """A run and its flows: the nearest recorded one, at other steps."""
    source = shards[0].arrays
    sizes = {len(source["saved_step"]): len(unit.saved), len(source["loss"]): unit.model_steps + 1}
    arrays = {}
    for name, array in source.items():
        for axis, size in enumerate(array.shape):
            at = np.linspace(0, size - 1, sizes.get(size, size)).round().astype(int)
            array = array.take(at, axis)
        arrays[name] = noisy(name, array, rng) if array.dtype.kind == "f" else array
    last = unit.saved[-1] / source["saved_step"][-1]
    ended = [
        -1 if at < 0 else min(unit.saved, key=lambda s: abs(s - last * at))
        for at in source["ended"]
    ]
    return arrays | {
        "learning_rate": np.array([unit.learning_rate]),
        "seed": np.array(unit.seeds),
        "saved_step": np.array(unit.saved),
        "ended": np.array(ended),
    }


def rehearsed(chapter):
    """What goes wrong in a chapter, and which of its claims fail: two lists of lines."""
    notebook = nbformat.read(chapter, as_version=4)
    # Before the first cell, so that a cell keeps its number.
    notebook.cells.insert(0, nbformat.v4.new_code_cell(GO_ON))
    where = {"metadata": {"path": str(chapter.parent)}}
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", allow_errors=True, resources=where
    ).execute()
    nbformat.write(notebook, chapter)
    faults, claims = [], []
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", ()):
            at = f"{chapter.stem}, cell {number}: "
            if output.output_type == "error":
                claimed = output.ename == "AssertionError"
                (claims if claimed else faults).append(f"{at}{output.ename}: {output.evalue}")
            elif output.output_type == "stream":
                lines = output.text.splitlines()
                if output.name == "stderr":  # No chapter may write there.
                    faults.append(f"{at}to stderr: {lines[-1]}")
                claims += [at + one for one in lines if one.startswith(CLAIM)]
    return faults, claims


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    reading = [p for p in sorted(BOOK.glob("*.ipynb")) if reads_records(p)]
    chapters = [COPY / path.name for path in arguments.notebooks or reading]
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(BOOK, COPY)
    recorded = shards_in(COPY / "results")
    for experiment, profile in itertools.product(EXPERIMENTS, PROFILES):
        if profile in EXPERIMENTS[experiment]:
            made = make_up(COPY / "results", recorded, experiment, profile)
            print(f"made up {made.directory.name}: {len(made.units)} units", flush=True)
    found = []
    for chapter in chapters:
        print(f"rehearsing {chapter.name}", flush=True)
        faults, claims = rehearsed(chapter)
        for line in claims:
            print(line)
        found += faults
    if found:
        sys.exit("\n".join(found) + f"\n{len(found)} faults")


def reads_records(path):
    cells = nbformat.read(path, as_version=4).cells
    return any(cell.cell_type == "code" and '"results"' in cell.source for cell in cells)


if __name__ == "__main__":
    main()
