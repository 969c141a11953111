"""The built book as files: nothing remote in it, and nothing missing."""

import importlib
import json
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import nbformat
import pytest
from sphinx.util.inventory import InventoryFile

pytestmark = pytest.mark.html

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
PAGES = sorted((HTML / "book").rglob("*.html"))
CHAPTERS = [path for path in PAGES if (HTML / "_sources/book" / f"{path.stem}.ipynb").exists()]
ASSETS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
# <link> elements that describe the page and load nothing.
DESCRIPTIONS = {"canonical", "author", "license", "search", "next", "prev", "index"}


class Page(HTMLParser):
    """The assets that a page loads, and its text outside code."""

    def __init__(self, text):
        super().__init__()
        self.assets, self.text = [], []
        self.skipped = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        loaded = attributes.get(ASSETS.get(tag, ""))
        if loaded and attributes.get("rel") not in DESCRIPTIONS:
            self.assets.append(loaded)
        if tag in ("script", "style", "pre", "code"):
            self.skipped += 1

    def handle_endtag(self, tag):
        if tag in ("script", "style", "pre", "code"):
            self.skipped -= 1

    def handle_data(self, data):
        if not self.skipped:
            self.text.append(data)


def name(path):
    return path.stem


def test_the_book_is_built():
    assert PAGES, "nothing in _build/html/book: run `make html` first"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_loads_nothing_remote(path):
    text = path.read_text(encoding="utf-8")
    remote = re.compile(r"^(https?:)?//")
    assert [asset for asset in Page(text).assets if remote.match(asset)] == []
    inline = " ".join(re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", text, re.S))
    found = re.findall(r"https?://[^\s\"']+", inline)
    # A name, which nothing is loaded from.
    assert [url for url in found if url != "http://www.w3.org/2000/svg"] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_what_it_loads_is_there(path):
    assets = Page(path.read_text(encoding="utf-8")).assets
    local = [asset.partition("?")[0].partition("#")[0] for asset in assets]
    assert [a for a in local if not a.startswith("data:") and not (path.parent / a).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_inside_of_the_book_lead_somewhere(path):
    found = re.findall(r'href="([^"#:]*)#([^"]+)"', path.read_text(encoding="utf-8"))
    for page in {page for page, _ in found}:
        target = (path.parent / page) if page else path
        ids = set(re.findall(r'\bid="([^"]+)"', target.read_text(encoding="utf-8")))
        assert {unquote(anchor) for other, anchor in found if other == page} - ids == set(), page


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_the_first_use_of_a_name_leads_to_its_reference(path):
    text = path.read_text(encoding="utf-8")
    linked = re.findall(r'class="igrlib-name" href="([^"]+)"', text)
    assert linked
    assert len(linked) == len(set(linked)), "more than the first use"
    assert all(address.startswith("api/") for address in linked)


IMPORTS = re.compile(r"^from ((?:igrlib|explorers)[\w.]*) import (.+)$", re.M)
MODULES = re.compile(r"^import (explorers[\w.]*)", re.M)


def imported(module, item):
    try:
        return getattr(importlib.import_module(module), item)
    except AttributeError:  # a module of a package
        return importlib.import_module(f"{module}.{item}")


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_what_a_chapter_imports_is_in_the_reference(path):
    with (HTML / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    known = {item for kind, items in inventory.items() if kind.startswith("py:") for item in items}
    source = (HTML / "_sources/book" / f"{path.stem}.ipynb").read_text(encoding="utf-8")
    cells = [cell.source for cell in nbformat.reads(source, 4).cells if cell.cell_type == "code"]
    code = "\n".join(cells)
    assert set(MODULES.findall(code)) <= known
    flat = re.sub(r"import \(([^)]*)\)", lambda m: "import " + " ".join(m[1].split()), code)
    for module, names in IMPORTS.findall(flat):
        for item in (part.strip().partition(" as ")[0] for part in names.strip(", ").split(",")):
            found = imported(module, item)
            full = found.__name__ if isinstance(found, ModuleType) else f"{module}.{item}"
            origin = f"{getattr(found, '__module__', module)}.{item}"
            assert {full, origin} & known, full


FORMULA = re.compile(r'<(?:span|div) class="(?:formula|math)".*?</svg>', re.S)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_formulas_are_typeset(path):
    """All of them, with every glyph on the page itself, and none as a stop of the tab key."""
    text = path.read_text(encoding="utf-8")
    drawn = set(re.findall(r'<use href="#([^"]+)"', text))
    assert drawn == set(re.findall(r'<path id="(g-[^"]+)"', text))
    formulas = FORMULA.findall(text)
    assert bool(formulas) == bool(drawn)
    assert all(formula.count("<math") == 1 for formula in formulas)
    assert not any("tabindex" in formula for formula in formulas)
    assert "formula-wrong" not in text
    prose = "".join(Page(text).text)
    assert not re.search(r"\\[(\[]|\\begin\{|\$\$", prose), "TeX left unset"


def test_what_is_searched_has_no_tex():
    index = json.loads((HTML / "searchindex.js").read_text("utf-8")[len("Search.setIndex(") : -1])
    # Of code that writes labels there is some; these stand in formulas alone.
    assert {"bigo", "etild", "frac14", "operatornam"} & index["terms"].keys() == set()
    assert [title for title in index["alltitles"] if "\\" in title] == []
    assert index["terms"]["λ"]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_role_is_left_as_text(path):
    """As one inside of a formula is: nobody but a reader would notice."""
    text = "".join(Page(path.read_text(encoding="utf-8")).text)
    assert re.findall(r"\{[\w:-]+\}`", text) == []


def test_style_sheets_load_nothing_remote():
    sheets = list(HTML.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        found = re.findall(
            r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\s]+", sheet.read_text("utf-8")
        )
        assert found == [], sheet.name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_is_text_in_code_would_have_the_colour_of_code_as_elements(theme):
    css = (HTML / "_static" / "pygments.css").read_text("utf-8").lower()
    rule = rf'data-theme="{theme}"\] \.highlight %s\{{[^}}]*\bcolor: (#\w+)'
    (code,) = re.findall(rule % "", css)
    assert re.findall(rule % r"\.[npw] ", css) == [code] * 3


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_names_and_punctuation_in_code_are_text(path):
    blocks = re.findall(r'<div class="highlight">.*?</pre>', path.read_text("utf-8"), re.S)
    assert any('<span class="k' in block for block in blocks)
    assert not any(re.search(r'<span class="[npw]">', block) for block in blocks)


def test_is_small_enough_to_hand_round():
    assert sum(path.stat().st_size for path in HTML.rglob("*") if path.is_file()) < 30e6


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_is_light(path):
    """Itself with its formulas and its pictures; what all pages share is loaded once."""
    text = path.read_text(encoding="utf-8")
    pictures = set(re.findall(r'src="((?:\.\./)+_images/[^"]+)"', text))
    weight = len(text.encode()) + sum((path.parent / p).stat().st_size for p in pictures)
    assert weight < 1.25e6


NUMBERED = 12  # chapters with cells, each of which asks for a prediction


def predictions(text):
    return re.findall(r'<section[^>]* class="igr-prediction".*?</section>', text, re.S)


def test_every_chapter_asks_for_a_prediction():
    asked = [path for path in CHAPTERS if predictions(path.read_text(encoding="utf-8"))]
    assert len(asked) == NUMBERED


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_a_prediction_is_read_without_scripts(path):
    """All options in the open, the answer closed and with its letter, and nothing else hidden."""
    text = path.read_text(encoding="utf-8")
    for box in predictions(text):
        (listed,) = re.findall(r'<ol class="igr-options"(.*?)</ol>', box, re.S)
        options = re.findall(r"<li>(.+?)</li>", listed, re.S)
        assert 2 <= len(options) <= 5
        (answer,) = re.findall(r'<details class="igr-answer">(.*?)</details>', box, re.S)
        (right,) = re.findall(r"The answer is ([A-E])\.</p>", answer)
        assert f'data-right="{right}"' in listed
        assert "ABCDE".index(right) < len(options)
        assert not re.search(r"\[[ x]\]|<input|<button", box)
        assert f'data-page="book/{path.stem}"' in box
        for hidden in re.findall(r'data-hides="([^"]+)"', box):
            assert f'id="{hidden}"' in text
    assert not re.search(r"igr-waiting|\binert\b", text)
    loaded = [asset for asset in Page(text).assets if "prediction.js" in asset]
    assert len(loaded) == bool(predictions(text))
