"""The directives `prediction` and `selfcheck`, in a book of one page."""

import re
from io import StringIO
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

EXTENSIONS = Path(__file__).resolve().parent.parent / "book" / "_ext"
CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "predictions"]
myst_enable_extensions = ["colon_fence"]
html_theme = "basic"
"""

GOOD = """:::{prediction} (b)
:label: taste
:hides: below
:until: far-below
Which one?

- [ ] *this*
- [x] that

Because of `that`.
:::"""


@pytest.fixture
def page(tmp_path):
    """A function from MyST to the HTML of its page and to what was warned of."""

    def build(text):
        source = tmp_path / "source"
        source.mkdir()
        (source / "conf.py").write_text(CONF)
        (source / "index.md").write_text(f"# Title\n\n{text}\n")
        out, warnings = tmp_path / "out", StringIO()
        with docutils_namespace():  # each application begins with no node of another
            trees = tmp_path / "trees"
            Sphinx(source, source, out, trees, "html", status=None, warning=warnings).build()
        return (out / "index.html").read_text(), warnings.getvalue()

    return build


def test_a_prediction_is_a_question_a_list_and_a_folded_answer(page):
    html, warned = page(GOOD)
    assert warned == ""
    (box,) = re.findall(r"<section[^>]*igr-prediction.*?</section>", html, re.S)
    plain = " ".join(re.sub(r"<[^>]+>", " ", box).split())
    told = "Prediction (b) Which one? this that Answer The answer is B. Because of that ."
    assert plain == told
    assert re.findall(r'data-(\w+)="([^"]*)"', box) == [
        ("hides", "below"),
        ("label", "taste"),
        ("page", "index"),
        ("until", "far-below"),
        ("right", "B"),
    ]
    assert "<li><em>this</em></li>" in box
    assert "<details" in box
    assert "open" not in re.search(r"<details[^>]*>", box)[0]
    assert re.search(r'<script[^>]*defer[^>]* src="[^"]*prediction\.js', html)


def test_a_page_without_a_prediction_loads_no_script(page):
    html, warned = page(":::{selfcheck}\nHow many?\n\nTwo.\n:::")
    assert warned == ""
    assert "prediction.js" not in html
    (box,) = re.findall(r'<div class="igr-selfcheck.*?</div>', html, re.S)
    plain = " ".join(re.sub(r"<[^>]+>", " ", box).split())
    assert plain == "Self-check. How many? Answer Two."


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (":label: taste\n", "", "needs a `:label:`"),
        (":hides: below\n", "", "`:until:` needs `:hides:`"),
        ("[ ] *this*", "[x] *this*", r"got the marks \['x', 'x'\]"),
        ("[x] that", "[ ] that", r"got the marks \[' ', ' '\]"),
        ("[ ] *this*", "*this*", r"got the marks \[None, 'x'\]"),
        ("- [ ] *this*\n", "", r"2 to 5 options .*got the marks \['x'\]"),
        ("- [x] that", "- [x] that\n" + 4 * "- [ ] other\n", "got the marks"),
        ("- [x] that", "- [x] that\n\n  and more", r"got the marks \[' ', None\]"),
        ("Which one?\n", "", "needs a question"),
        ("Because of `that`.\n", "", "needs an answer"),
    ],
)
def test_what_a_prediction_lacks_is_said(page, old, new, told):
    assert old in GOOD
    _, warned = page(GOOD.replace(old, new))
    assert re.search(told, warned), warned


def test_a_self_check_without_an_answer_is_refused(page):
    assert "needs a question, a blank line and an answer" in page(":::{selfcheck}\nHow?\n:::")[1]
