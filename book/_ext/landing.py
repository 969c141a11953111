"""The first page: the live river, the chapters as cards, and what stands beside them.

`river` is the figure; `chapter-cards` has a line for each chapter: its file, the figure that stands
for it or `works`, its question; `landing-links` is a row of links; the role `minutes` says what
chapters take.
"""

import html
import io
import json
import re
import sys
from base64 import b64decode
from pathlib import Path

from docutils import nodes
from figures import PAINT, coloured, small
from PIL import Image
from reading_times import chapters, minutes, told
from sphinx.util.docutils import SphinxDirective, SphinxRole

BOOK = Path(__file__).resolve().parents[1]
sys.path.append(str(BOOK))  # of the explorers
WIDE = 480  # px of a thumbnail, twice what is shown
# In the page itself: a sheet of all pages would have to ask each whether it has the river, at every
# change of its content, and the article of a chapter has tens of thousands of parts.
PAGE = ".bd-main .bd-content .bd-article-container{max-width:none}"
CITED = re.compile(r"\{cite:\w+\}`([^`]+)`")
YEAR = re.compile(r"^@\w+\{([^,]+),.*?^\s*year\s*=\s*\{(\d+)\}", re.M | re.S)
PAPER = "barrett2021implicit"
ACROSS, UP, RADIUS = 26, 9, 3.4  # between two years, between two works, of a dot


class Waiting(nodes.General, nodes.Element):
    """Stands for what needs every page to have been read."""


class River(SphinxDirective):
    def run(self):
        from explorers import river_explorer

        return [raw(f"<style>{PAGE}</style>{river_explorer()._repr_html_()}")]


class Cards(SphinxDirective):
    has_content = True

    def run(self):
        return [Waiting(what="cards", lines=[line.split(None, 2) for line in self.content])]


class Links(SphinxDirective):
    has_content = True

    def run(self):
        return [Waiting(what="links", paper=self.content[0])]


class Minutes(SphinxRole):
    def run(self):
        return [Waiting(what="minutes", pages=[f"book/{name}" for name in self.text.split()])], []


def raw(markup):
    return nodes.raw("", markup, format="html")


def thumbnail(app, page, figure):
    """A stored figure, small; the cell that draws it has the figure's name."""
    notebook = json.loads((BOOK / f"{Path(page).name}.ipynb").read_text("utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") != figure:
            continue
        for output in cell["outputs"]:
            if drawing := output.get("data", {}).get("image/svg+xml"):
                return small("".join(drawing))
            if points := output.get("data", {}).get("image/png"):
                address = store(app, f"{figure}.webp", points)
                return f'<img src="{address}" alt="" role="presentation" loading="lazy">'
    raise ValueError(
        f"{page} has no stored figure {figure}, which its card on the first page shows"
    )


def store(app, name, data):
    target = Path(app.outdir, "_images", "cards", name)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(io.BytesIO(b64decode(data))).convert("RGB")
    picture.thumbnail((WIDE, WIDE))
    picture.save(target, "WEBP", quality=80, method=6)
    return f"_images/cards/{name}"


def works(page):
    """The works that a chapter cites: dots in columns of years, coloured from the paper on."""
    text = (BOOK / f"{Path(page).name}.md").read_text("utf-8")
    published = dict(YEAR.findall((BOOK / "references.bib").read_text("utf-8")))
    cited = {key.strip() for keys in CITED.findall(text) for key in keys.split(",")}
    years = {}
    # The paper lies at the bottom of its year.
    for key in sorted(cited, key=lambda key: (key != PAPER, key)):
        years.setdefault(int(published[key]), []).append(key)
    began, first, last = int(published[PAPER]), min(years), max(years)
    most = max(map(len, years.values()))

    def colour(key, year):
        if key == PAPER:
            return "d55e00"
        return "0072b2" if year >= began else "999999"

    dots = "".join(
        f'<circle cx="{(year - first + 0.5) * ACROSS:g}" cy="{(most - row - 0.5) * UP:g}"'
        f' r="{RADIUS}" fill="#{colour(key, year)}"/>'
        for year, keys in sorted(years.items())
        for row, key in enumerate(keys)
    )
    box = f'viewBox="0 0 {(last - first + 1) * ACROSS} {most * UP}"'
    return coloured(f'<svg class="igr-drawing" {box} {PAINT} aria-hidden="true">{dots}</svg>')


def is_played_with(doctree):
    return any("data-igr-explorer" in node.astext() for node in doctree.findall(nodes.raw))


def card(app, page, figure, question, number):
    doctree = app.env.get_doctree(page)
    title = html.escape(app.env.titles[page].astext())
    facts = told(minutes(doctree)) + (
        ' · <span class="igr-live">to play with</span>' if is_played_with(doctree) else ""
    )
    if figure == "works":
        picture = works(page)
        facts += " · each dot a work that it cites, in the column of its year"
    else:
        picture = thumbnail(app, page, figure)
    return (
        f'<li><a href="{app.builder.get_relative_uri(app.config.root_doc, page)}">'
        f'<span class="igr-thumb">{picture}</span>'
        f'<span class="igr-name">{number} {title}</span>'
        f'<span class="igr-question">{html.escape(question)}</span>'
        f'<span class="igr-facts">{facts}</span></a></li>'
    )


def cards(app, lines):
    numbers = {page: ".".join(map(str, number)) for page, number in chapters(app)}
    given = [f"book/{name}" for name, _, _ in lines]
    if given != list(numbers):
        raise ValueError(f"the cards are {given}, the chapters {list(numbers)}")
    items = [
        card(app, f"book/{n}", figure, text, numbers[f"book/{n}"]) for n, figure, text in lines
    ]
    return f'<ol class="igr-cards">{"".join(items)}</ol>'


def links(app, paper):
    """To the paper, and to what there is of this book elsewhere."""
    page = app.config.root_doc
    to = lambda name, anchor: f"{app.builder.get_relative_uri(page, name)}#{anchor}"  # noqa: E731
    repository = app.config.html_theme_options.get("repository_url")
    found = [("The paper", paper)]
    if repository:
        # Published by the repository's workflow, which lays the PDF beside the pages.
        found += [("Code", repository), ("PDF", "book.pdf")]
    else:
        found += [("PDF (how to make it)", to("book/reproduce", "app-reproduce"))]
    found += [("How to cite", to("book/reading", "sec-reading-cite"))]
    made = "".join(f'<li><a href="{html.escape(uri)}">{name}</a></li>' for name, uri in found)
    return f'<ul class="igr-links">{made}</ul>'


def fill(app, doctree, page):
    for place in list(doctree.findall(Waiting)):
        match place["what"]:
            case "minutes":
                total = sum(minutes(app.env.get_doctree(name)) for name in place["pages"])
                place.replace_self(nodes.Text(told(total)))
            case "cards":
                place.replace_self(raw(cards(app, place["lines"])))
            case "links":
                place.replace_self(raw(links(app, place["paper"])))


def call_it_start(app, page, template, context, doctree):
    """In the list of pages; its own title is a sentence."""
    context["root_title"] = "Start"


def setup(app):
    app.add_node(Waiting)
    app.add_directive("river", River)
    app.add_directive("chapter-cards", Cards)
    app.add_directive("landing-links", Links)
    app.add_role("minutes", Minutes())
    app.connect("doctree-resolved", fill)
    app.connect("html-page-context", call_it_start)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
