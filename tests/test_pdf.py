"""Printing the book: everything unfolded, and nothing printed with a wrong formula."""

import re

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
    """How many pages a body makes."""
    source, target = tmp_path / "book.html", tmp_path / "made" / "book.pdf"
    source.write_text(f"<!doctype html><title>Book</title><body>{body}", encoding="utf-8")
    pdf.print_pdf(source, target)
    return len(re.findall(rb"/Type /Page\b(?!s)", target.read_bytes()))


def test_what_is_folded_away_is_printed(tmp_path):
    solution = "<p style='break-before: page'>Solution</p>"
    assert printed(tmp_path, "<p>Exercise</p>") == 1
    assert printed(tmp_path, f"<p>Exercise</p><details>{solution}</details>") == 2


def test_a_wrong_formula_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="wrong formulas: 1"):
        printed(tmp_path, "<mjx-merror>Undefined control sequence</mjx-merror>")
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
    source, target = tmp_path / "book.html", tmp_path / "book.pdf"
    source.write_text("<!doctype html><h1>One</h1><h2>Two</h2><h1>ThreeThree</h1>", "utf-8")
    pdf.print_pdf(source, target)
    outline = PdfReader(target).outline
    assert [outline[0].title, outline[1][0].title, outline[2].title] == ["One", "Two", "Three"]
