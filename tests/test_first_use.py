"""The first use of a word of the book's own leads to the glossary, in a book of three pages."""

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
extensions = ["myst_parser", "first_use"]
myst_enable_extensions = ["colon_fence"]
html_theme = "basic"
"""
GLOSSARY = """# Words

:::{glossary}
block
  Models of one seed. A pytree of them.

pytree
  Arrays in lists.
:::
"""
PAGE = """# A pytree

Two `pytree`s, [a pytree](https://example.org), a block, pytrees, and a pytree, subpytree.
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    source = tmp_path_factory.mktemp("first-use")
    (source / "book").mkdir()
    (source / "conf.py").write_text(CONF)
    (source / "index.md").write_text(
        "# Book\n\nA pytree.\n\n```{toctree}\nbook/glossary\nbook/theorem\nbook/mnist\n```\n"
    )
    (source / "book" / "glossary.md").write_text(GLOSSARY)
    for name in ("theorem", "mnist"):
        (source / "book" / f"{name}.md").write_text(PAGE)
    out, warnings = source / "out", StringIO()
    with docutils_namespace():
        trees = source / "trees"
        Sphinx(source, source, out, trees, "html", status=None, warning=warnings).build()
    assert warnings.getvalue() == ""
    return {path.stem: path.read_text(encoding="utf-8") for path in out.rglob("*.html")}


def linked(html):
    return re.findall(r'<a class="igr-word[^>]* href="([^"]*)"[^>]*>([^<]*)</a>', html)


def test_the_first_use_in_prose_is_linked_and_no_other(pages):
    assert linked(pages["theorem"]) == [("glossary.html#term-pytree", "pytrees")]


def test_words_of_experiments_are_linked_where_experiments_are_told_of(pages):
    assert sorted(linked(pages["mnist"])) == [
        ("glossary.html#term-block", "block"),
        ("glossary.html#term-pytree", "pytrees"),
    ]


def test_neither_the_glossary_nor_the_first_page_links_to_it(pages):
    assert linked(pages["glossary"]) == linked(pages["index"]) == []
