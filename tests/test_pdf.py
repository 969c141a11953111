"""Printing the book: everything unfolded, and nothing printed with a wrong formula."""

import subprocess
import sys

import browser
import pdf
import pytest
from pypdf import PdfReader

pytestmark = pytest.mark.html


@pytest.fixture(scope="module", autouse=True)
def needs_browser():
    if browser.find() is None:
        pytest.skip(browser.NOT_FOUND)


def printed(tmp_path, body):
    """The PDF of a body, by a process of its own: in this one a browser may be open."""
    source, target = tmp_path / "book.html", tmp_path / "made" / "book.pdf"
    source.write_text(f"<!doctype html><title>Book</title><body>{body}", encoding="utf-8")
    subprocess.run(
        [sys.executable, pdf.__file__, source, target], check=True, capture_output=True, text=True
    )
    return PdfReader(target)


def test_what_is_folded_away_is_printed(tmp_path):
    solution = "<p style='break-before: page'>Solution</p>"
    assert len(printed(tmp_path, "<p>Exercise</p>").pages) == 1
    assert len(printed(tmp_path, f"<p>Exercise</p><details>{solution}</details>").pages) == 2


def test_a_wrong_formula_is_refused(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as refused:
        printed(tmp_path, "<code class=formula-wrong>\\nowhere</code>")
    assert "wrong formulas: 1" in refused.value.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("The mapThe map", "The map"),
        ("1.1. 1.1. A river with bendsA river with bends", "1.1. A river with bends"),
        ("2.1. Steps and flows", "2.1. Steps and flows"),
        ("Notation", "Notation"),
    ],
)
def test_an_outline_has_a_title_once(title, expected):
    assert pdf.once(title) == expected


def test_every_heading_is_in_the_outline(tmp_path):
    outline = printed(tmp_path, "<h1>One</h1><h2>Two</h2><h1>ThreeThree</h1>").outline
    assert [outline[0].title, outline[1][0].title, outline[2].title] == ["One", "Two", "Three"]
