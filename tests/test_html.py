"""The built book as files: nothing remote in it, and nothing missing."""

import html
import importlib
import importlib.util
import json
import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.parse import unquote

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from PIL import Image
from sphinx.util.inventory import InventoryFile

pytestmark = pytest.mark.html

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
FIRST = HTML / "index.html"
PAGES = [FIRST, *sorted((HTML / "book").rglob("*.html"))]
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
    assert PAGES[1:], "nothing in _build/html/book: run `make html` first"


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
    used = set(re.findall(r'<use href="#([^"]+)"', text))
    assert used <= set(re.findall(r'id="([^"]+)"', text))
    drawn = {glyph for glyph in used if glyph.startswith("g-")}  # others are of figures
    assert drawn == set(re.findall(r'<path id="(g-[^"]+)"', text))
    formulas = FORMULA.findall(text)
    assert bool(formulas) == bool(drawn)
    assert all(formula.count("<math") == 1 for formula in formulas)
    assert not any("tabindex" in formula for formula in formulas)
    assert "formula-wrong" not in text
    prose = "".join(Page(text).text)
    assert not re.search(r"\\[(\[]|\\begin\{|\$\$", prose), "TeX left unset"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_number_keeps_its_per_cent_and_a_name_breaks_after_an_underscore(path):
    text = re.search(r"<article\b.*</article>", path.read_text("utf-8"), flags=re.S)[0]
    prose = re.sub(r"<(pre|code|script|style|svg|math)\b.*?</\1>", "", text, flags=re.S)
    assert re.findall(r"\d(?:</?\w+[^>]*>)* %", re.sub(r'="[^"]*"', "", prose)) == []
    names = re.findall(r'<span class="pre">([\w.]*\w_\w[\w.<>]*)', text)
    assert [one for one in names if re.search(r"\w_\w", one)] == []


def test_what_is_searched_are_sections_without_code_and_tex():
    data = (HTML / "_static/sections.js").read_text("utf-8").removeprefix("IGR_SECTIONS=")
    found = json.loads(data)
    said = [f"{title} {text}" for _, _, title, text in found]
    assert not [one for one in said if re.search(r"\\[A-Za-z({]|plt\.show|</", one)]
    assert any("λ_max" in one for one in said)
    addresses = [url.partition("#") for url, *_ in found]
    assert len({url for url, *_ in found}) == len(found) > 300
    for path in {path for path, _, _ in addresses}:
        ids = set(re.findall(r'\bid="([^"]+)"', (HTML / path).read_text("utf-8")))
        assert {anchor for page, _, anchor in addresses if page == path} <= ids
    chapters = {path.partition("#")[0] for path, *_ in found}
    assert {f"book/{path.stem}.html" for path in CHAPTERS} <= chapters
    assert not (HTML / "searchindex.js").exists()


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
    pictures = set(re.findall(r'src="((?:\.\./)*_images/[^"]+)"', text))
    weight = len(text.encode()) + sum((path.parent / p).stat().st_size for p in pictures)
    assert weight < 1.7e6


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
        for hidden in re.findall(r'data-(?:hides|until)="([^"]+)"', box):
            assert f'id="{hidden}"' in text
    assert not re.search(r"igr-waiting|\binert\b", text)
    loaded = [asset for asset in Page(text).assets if "prediction.js" in asset]
    assert len(loaded) == bool(predictions(text))


# The first page.


def test_the_first_page_begins_with_the_river_and_its_still_picture():
    text = FIRST.read_text("utf-8")
    article = text[text.index('<article class="bd-article"') :]
    river, heading = article.index('data-igr-explorer="river"'), article.index("<h1")
    assert river < heading
    still = article[river : article.index("<script", river)]
    assert still.count("igr-descent") > 10
    assert 'role="img" aria-label="' in still


def test_the_first_page_leads_to_the_start_the_explorers_the_verdicts_and_the_paper():
    text = FIRST.read_text("utf-8")
    (buttons,) = re.findall(r'<p class="igr-buttons">(.*?)</p>', text, re.S)
    leads = re.findall(r'href="([^"]+)"', buttons)
    pages = [lead.partition("#")[0] for lead in leads]
    assert pages == ["book/introduction.html", "", "book/what_held.html"]
    assert leads[1] == "#sec-index-play"
    assert re.search(r"Start reading: \d+ minutes", re.sub("<[^>]+>", "", buttons))
    (links,) = re.findall(r'<ul class="igr-links">(.*?)</ul>', text, re.S)
    assert "https://arxiv.org/abs/2009.11162" in links
    assert "book/reading.html#sec-reading-cite" in links


def test_no_rule_asks_a_whole_page_what_it_has():
    """It would be asked at every node that an explorer draws: 4 ms of each frame on a long page."""
    for name in ("book.css", "fonts/fonts.css"):
        sheet = (HTML / "_static" / name).read_text("utf-8")
        asking = re.findall(r"([^\s{},>+~]*):has\(", re.sub(r"/\*.*?\*/", "", sheet, flags=re.S))
        assert not [each for each in asking if re.match(r"html|body|main|article|\.bd-", each)], (
            name
        )


def test_every_chapter_has_a_card():
    text = FIRST.read_text("utf-8")
    (cards,) = re.findall(r'<ol class="igr-cards">(.*?)</ol>', text, re.S)
    toc = yaml.safe_load((HTML.parents[1] / "_toc.yml").read_text("utf-8"))
    numbered = [
        c["file"] for part in toc["parts"] if part.get("numbered") for c in part["chapters"]
    ]
    items = re.findall(r"<li>(.*?)</li>", cards, re.S)
    assert len(items) == len(numbered)
    for number, (chapter, item) in enumerate(zip(numbered, items, strict=True), 1):
        assert f'href="{chapter}.html"' in item
        assert f'<span class="igr-name">{number} ' in item
        assert re.search(r'<span class="igr-question">[^<]{20,}\?</span>', item)
        (time,) = re.findall(r"\d+ minutes|\d½? hours", item)
        page = (HTML / f"{chapter}.html").read_text("utf-8")
        assert re.search(rf'</h1>\s*<p class="igr-time">{time} to read', page)
        assert ("to play with" in item) == ("data-igr-explorer" in page), chapter
        assert "<img" in item or "<svg" in item
        # Of the last chapter, which is prose, the works that it cites.
        assert ("<circle" in item) == (chapter == "book/after")
    cited = re.findall(
        r"\{cite:[pt]\}`([^`]+)`", (HTML / "_sources/book/after.md").read_text("utf-8")
    )
    assert items[-1].count("<circle") == len({key for keys in cited for key in keys.split(",")})


# What search engines and previews are told.

GIVEN = r'<meta (?:name|property)="%s" content="([^"]*)"'


def told(path):
    text = path.read_text("utf-8")
    names = ("description", "og:title", "og:description", "og:image", "twitter:card")
    return {name: re.findall(GIVEN % name, text) for name in names}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_says_what_it_is(path):
    text, found = path.read_text("utf-8"), told(path)
    (title,) = re.findall(r"<title>([^<]+)</title>", text)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(found, 1)
    assert found["og:title"][0] in title
    assert found["description"] == found["og:description"]
    assert 40 <= len(found["description"][0]) <= 260
    # Formulas are written out.
    assert not re.search(r"[\\{}$]", found["description"][0])
    picture = Image.open(path.parent / found["og:image"][0])
    assert picture.size == (1200, 630)
    (icon,) = re.findall(r'<link rel="icon" href="([^"?]+)', text)
    assert (path.parent / icon).read_text("utf-8").startswith("<svg")
    assert '<link rel="license" href="https://www.apache.org/licenses/' in text


def extension(name):
    path = HTML.parents[1] / "book/_ext" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("repository", "given", "address"),
    [
        ("", "", ""),
        ("https://github.com/someone/river", "", "https://someone.github.io/river/"),
        ("https://github.com/someone/river/", "https://a.org/", "https://a.org/"),
        ("https://example.org/someone/river", "", ""),
    ],
)
def test_the_address_of_the_pages_follows_from_the_repository(repository, given, address):
    config = SimpleNamespace(html_theme_options={"repository_url": repository}, html_baseurl=given)
    extension("metadata").point_to_pages(None, config)
    assert config.html_baseurl == address


def test_an_address_is_canonical_only_where_one_is_set():
    settings = yaml.safe_load((HTML.parents[1] / "_config.yml").read_text("utf-8"))
    known = bool(settings["repository"]["url"])
    for path in PAGES:
        text = path.read_text("utf-8")
        assert ('<link rel="canonical"' in text) == known
        assert bool(re.findall(GIVEN % "og:url", text)) == known


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_says_once_how_wide_it_is(path):
    text = path.read_text("utf-8")
    head = text[: text.index("</head>")]
    assert len(re.findall(r'<meta name="viewport"[^>]*\bwidth=device-width\b', head)) == 1
    assert head.count("viewport") == 1


def test_pages_say_different_things():
    said = [told(path)["description"][0] for path in PAGES]
    assert len(set(said)) == len(said)


def test_there_are_no_lists_for_machines():
    assert not (HTML / "prf-prf.html").exists()
    assert not (HTML / "genindex.html").exists()
    assert not any(re.findall(GIVEN % "robots", path.read_text("utf-8")) for path in PAGES)


# A page of a textbook.


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_the_code_of_a_figure_stands_folded_below_it(path):
    text = path.read_text("utf-8")
    source = (HTML / "_sources/book" / f"{path.stem}.ipynb").read_text(encoding="utf-8")
    cells = nbformat.reads(source, 4).cells
    drawn = [cell for cell in cells if "figure" in cell.metadata.get("mystnb", {})]
    assert text.count("<summary>Code of this figure</summary>") == len(drawn)
    below = r'</figure>\s*(?:</div>\s*)+<details class="igr-code"><summary>Code of this figure'
    assert len(re.findall(below, text)) == len(drawn)


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_no_bar_hides_nothing_or_stands_beside_another(path):
    text = path.read_text("utf-8")
    assert "Show code cell" not in text
    assert "Click to show" not in re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(
        r'</details>\s*</div>\s*<div class="cell[^>]*>\s*<details class="igr-code"><summary>Code<',
        text,
    )
    for code in re.findall(
        r'<details class="igr-code"><summary>Code</summary>(.*?)</details>', text, re.S
    ):
        lines = [line for line in re.sub("<[^>]+>", "", code).splitlines() if line.strip()]
        assert not all(line.startswith("glue(") for line in lines)


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_code_without_an_output_goes_with_the_next_link_of_its_section(path):
    page = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    parts = lambda cell: cell.find_all(True, recursive=False)  # noqa: E731
    for cell in page.select("article div.cell"):
        if [part.get("class") for part in parts(cell)] == [["igr-code"]]:
            after = next(
                (n for n in cell.find_next_siblings(["div", "section"]) if is_part(n)), None
            )
            assert after is None or not any("igr-code" in p.get("class", []) for p in parts(after))


def is_part(node):
    return node.name == "section" or "cell" in node["class"]


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_solutions_are_folded_without_scripts(path):
    source = (HTML / "_sources/book" / f"{path.stem}.ipynb").read_text(encoding="utf-8")
    text = path.read_text("utf-8")
    assert text.count("<summary>Solution</summary>") == source.count("{solution-start}")


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_what_ends_every_chapter_has_no_number(path):
    text = path.read_text("utf-8")
    headings = re.findall(r"<h2>(.*?)<a", text[text.index('<article class="bd-article"') :], re.S)
    numbered = ["section-number" in heading for heading in headings]
    for heading, number in zip(headings, numbered, strict=True):
        ends = re.search(r"What we found|Exercises$|Where to go next|References", heading)
        assert not (ends and number), heading
    # None that has a number follows.
    assert numbered == sorted(numbered, reverse=True)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_name_is_given_once(path):
    text = re.sub(r"<(script|svg)\b.*?</\1>", "", path.read_text("utf-8"), flags=re.S)
    names = re.findall(r'<[^>]*?\bid="([^"]+)"', text)
    assert sorted({each for each in names if names.count(each) > 1}) == []


def test_the_fonts_are_in_the_build_and_light():
    fonts = HTML / "_static/fonts"
    sheet = (fonts / "fonts.css").read_text("utf-8")
    files = re.findall(r'url\("([^"]+)"\)', sheet)
    assert files
    assert sum((fonts / file).stat().st_size for file in files) < 250_000
    assert "SIL Open Font License" in (fonts / "LICENSE").read_text("utf-8")


@pytest.mark.parametrize("path", sorted((HTML / "book/api").glob("*.html")), ids=name)
def test_a_signature_has_a_parameter_a_line_and_short_types(path):
    signatures = re.findall(r'<dt class="sig .*?</dt>', path.read_text("utf-8"), flags=re.S)
    assert signatures
    for signature in signatures:
        # Each parameter of a long signature has its line; Sphinx falls silent on <factory>.
        lines = signature.split('class="igr-parameter"')
        parameters = [line.count('<em class="sig-param">') for line in lines]
        assert max(parameters) <= (6 if len(parameters) == 1 else 1), signature
        text = html.unescape(re.sub(r"<[^>]+>", "", signature))
        assert not re.search(r"~|<factory>|jaxlib|typing\.|numpy\.", text), text
