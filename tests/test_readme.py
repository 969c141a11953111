"""The README and *How to reproduce*: what they tell to run does what they say."""

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
