"""Printing the book: everything unfolded, and nothing printed with a wrong formula."""

import re

import browser
import pdf
import pytest

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
