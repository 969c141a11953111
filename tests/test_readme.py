"""The README: its figure is the book's, and its example does what it says."""

import re
import sys
from pathlib import Path

import jax
import nbformat

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


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
