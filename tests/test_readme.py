"""The README and *How to reproduce*: what they tell to run does what they say."""

import itertools
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import nbformat
import pytest
from helpers import enable_x64
from PIL import Image

from igrlib.experiments import data, records
from igrlib.experiments.arm import Arm
from igrlib.experiments.networks import num_params
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.runner import units

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

sys.path.insert(0, str(ROOT / "book" / "_tools"))
import notebooks  # noqa: E402


def test_the_figure_is_that_of_chapter_1():
    chapter = nbformat.read(ROOT / "book" / "introduction.ipynb", as_version=4)
    assert str(notebooks.README_PNG.relative_to(ROOT)) in README
    drawing = notebooks.figure(chapter, notebooks.README_FIGURE)["image/svg+xml"]
    with Image.open(notebooks.README_PNG) as picture:
        assert picture.text == {notebooks.SIGNATURE: sha256(drawing.encode()).hexdigest()}
        width, height = re.search(r'viewBox="0 0 (\S+) (\S+)"', drawing).groups()
        # Twice its pixels.
        wanted = float(width) * 192 / 72, float(height) * 192 / 72
        assert picture.size == pytest.approx(wanted, abs=16)


def test_the_example_prints_what_it_says(capsys):
    example = re.search(r"```python\n(.*?)```", README, re.S)[1]
    claimed = [float(number) for number in re.findall(r"(0\.\d+) for", example)]
    with enable_x64(False):
        exec(compile(example, "README.md", "exec"), {})
    printed = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()[1:]]
    assert [round(number, 4) for number in printed] == claimed


@pytest.mark.slow
def test_a_data_set_may_travel_in_parts(tmp_path):
    cached = data.cache_path("cifar10")
    if not cached.exists():
        pytest.skip("CIFAR-10 is not cached: make data")
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    script = re.search(r"```sh\n([^`]*split -b.*?)```", page, re.S)[1]
    (tmp_path / "cifar10.npz").symlink_to(cached)
    env = {k: v for k, v in os.environ.items() if k not in ("IGR_DATA_DIR", "TFDS_DATA_DIR")}
    env |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
        "HOME": f"{tmp_path}",
    }

    def told():
        return subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=env, capture_output=True)

    assert f"{tmp_path}/data/cifar10.npz" in told().stdout.decode()
    (tmp_path / "cifar10.part.ab").unlink()
    script = re.sub("^split.*", "", script, flags=re.M)
    assert told().returncode != 0  # A part that is lost is noticed.


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_what_a_gpu_takes_is_what_was_measured():
    """The numbers of *How to reproduce* are those of the committed results and shards."""
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    measured = json.loads((ROOT / "benchmarks" / "results" / "h100.json").read_text())
    took = {
        c["problem"]: c["series"][0]["values"][0]
        for c in measured["comparisons"]
        if c["comparison"] == "steps"
    }
    mlp = "MLP, width 50, batch 32, MNIST, {} models, chunk {}"
    many, traced, few = (took[mlp.format(*k)] for k in ((24, 32), (24, 1), (8, 32)))
    while_ = sorted(v for problem, v in took.items() if "WHILE" in problem)
    resnet, egr = took["resnet-sweep:gpu, 5 models"], took["egr-sweep:gpu, 8 models"]
    assert f"{many:.0f} µs in chunks of 32 steps, {traced:.0f} µs in a loop of unknown" in page
    assert f"{while_[0]:.0f} to {while_[-1]:.0f} µs with `WHILE`" in page
    assert f"A step of 8 models takes {few:.0f} µs" in page
    assert f"{resnet:.1f} ms a step of one model in full float32, and {egr:.1f} ms on" in page
    seconds = [
        unit.meta["seconds"]
        for name in ("mlp-sweep-paper", "resnet-sweep-gpu")
        for unit in records.open_record(ROOT / "book" / "results" / name).units.values()
    ]
    assert f"took {seconds[0]:.0f} seconds for $10^6$ steps" in page
    assert f"for 10,000 steps took {seconds[1]:.0f} seconds" in page


def rows_of(page, head):
    """The rows of the table of *How to reproduce* that has this heading."""
    lines = page.splitlines()
    first = lines.index(head) + 2
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_what_the_records_took_is_in_their_manifests():
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    rows = rows_of(page, "| record | `digits`, minutes | `cpu`, hours | `long`, hours |")
    assert [f"{name}" for name, *_ in rows] == [f"`{name}`" for name in EXPERIMENTS]
    for experiment, (_, *told) in zip(EXPERIMENTS, rows, strict=True):
        for profile, hours in zip(("digits", "cpu", "long"), told, strict=True):
            folder = ROOT / "book" / "results" / f"{experiment}-{profile}"
            if not folder.exists():
                assert hours == "–"
                continue
            manifest = json.loads((folder / "manifest.json").read_text())
            assert manifest["missing"] == []
            seconds = sum(unit["seconds"] for unit in manifest["units"].values())
            assert hours == (
                f"{seconds / 60:.0f}" if profile == "digits" else f"{seconds / 3600:.1f}"
            )


# Bytes of an image and its label, and how many images are tested on.
IMAGES = {"mnist": (28 * 28 + 4, 10_000), "cifar10": (32 * 32 * 3 + 4, 10_000)}


def test_the_memory_of_the_largest_units_is_data_and_three_copies():
    page = (ROOT / "book" / "reproduce.md").read_text(encoding="utf-8")
    head = "| experiment, profile | models | parameters of each | GiB at least |"
    told = []
    for experiment, profiles, models, m, gib in (
        (*re.findall(r"`([\w-]+)`", name)[:1], re.findall(r"`(\w+)`", name), *rest)
        for name, *rest in rows_of(page, head)
    ):
        for profile in profiles:
            largest = (0, 0, 0)
            for unit in units(EXPERIMENTS[experiment][profile]):
                if not isinstance(unit.arm, Arm):
                    continue
                size, tested = IMAGES[unit.arm.dataset]
                images = unit.arm.num_train + unit.arm.num_validation + tested
                each = num_params(unit.arm.network, unit.width, unit.arm.dataset)
                needed = images * size + 3 * 4 * each * unit.models
                largest = max(largest, (needed, unit.models, each))
            needed, *largest = largest
            assert [f"{needed / 2**30:.1f}", *largest] == [
                gib,
                int(models),
                int(m.replace(",", "")),
            ]
            told.append((experiment, profile))
    for_a_gpu = [(e, p) for e in EXPERIMENTS for p in ("gpu", "paper") if p in EXPERIMENTS[e]]
    assert sorted(told) == sorted(for_a_gpu)
