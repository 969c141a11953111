"""The README and *How to reproduce*: what they tell to run does what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import nbformat
import pytest

from igrlib.experiments import data

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

sys.path.insert(0, str(ROOT / "book" / "_tools"))
import notebooks  # noqa: E402


def test_the_figure_is_that_of_chapter_1():
    chapter = nbformat.read(ROOT / "book" / "introduction.ipynb", as_version=4)
    assert str(notebooks.README_PNG.relative_to(ROOT)) in README
    assert notebooks.README_PNG.read_bytes() == notebooks.figure(chapter, notebooks.README_FIGURE)


def test_the_example_prints_what_it_says(capsys):
    example = re.search(r"```python\n(.*?)```", README, re.S)[1]
    claimed = [float(number) for number in re.findall(r"(0\.\d+) for", example)]
    with jax.enable_x64(False):
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
