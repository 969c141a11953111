"""The search finds sections, with what they say around the words, also from a folder of files.

Sphinx finds pages, and reads them anew for an excerpt, which browsers refuse where no server is.
Code and its output are not searched; a function is found by its entry in the reference.
"""

import json
import re
from pathlib import Path

from bs4 import BeautifulSoup

INDEX, SCRIPT = "sections.js", "search.js"
ARTICLE = re.compile(r"<article\b.*</article>", re.S)
DRAWN = re.compile(r"<(svg|script|style)\b.*?</\1>", re.S)
ENTRIES = "section[id], dl.py:is(.class, .function, .method, .data, .exception) > dt[id]"
NOT_SAID = (
    "form, button, input, .headerlink, .cell_input, .cell_output, .highlight,"
    " .igr-code, .igr-cards, .prev-next-footer, .bd-footer, [data-igr-explorer]"
)
BETWEEN = {"mfrac": "/", "msup": "^", "msub": "_", "mover": " ", "munder": " "}


def spoken(node):
    """A formula on one line."""
    if not getattr(node, "name", None):
        return str(node)
    parts = [spoken(child) for child in node.children]
    return BETWEEN.get(node.name, "").join(part for part in parts if part.strip())


def told(node):
    return re.sub(r"\s+", " ", node.get_text()).strip()


def sections(path, root):
    """Address, page, title and text of each section of a page, and of what it documents."""
    whole = ARTICLE.search(path.read_text("utf-8"))
    if whole is None:
        return []
    article = BeautifulSoup(DRAWN.sub("", whole[0]), "html.parser")
    for formula in article.find_all("math"):
        formula.replace_with(spoken(formula))
    for node in article.select(NOT_SAID):
        node.decompose()
    page, found = path.relative_to(root).as_posix(), []
    name = told(article.find("h1")) if article.find("h1") else ""
    # From the innermost, so that what stands in a section is not said again around it.
    for node in reversed(article.select(ENTRIES)):
        if node.name == "dt":
            names = node.select(".sig-prename, .sig-name")
            title, body = "".join(told(part) for part in names), node.find_next_sibling("dd")
            text = told(body) if body else ""
            (body or node).extract()
        else:
            heading = node.find(["h1", "h2", "h3", "h4"])
            title = told(heading.extract()) if heading else ""
            text = told(node)
            node.extract()
        if title and text:
            found.append([f"{page}#{node['id']}", name, title, text])
    return found[::-1]


def write(app, exception):
    out = Path(app.outdir)
    page = out / "search.html"
    if exception is not None or app.builder.name != "html" or not page.exists():
        return
    every = [entry for path in sorted(out.rglob("*.html")) for entry in sections(path, out)]
    data = json.dumps(every, ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / INDEX).write_text(f"IGR_SECTIONS={data}\n", "utf-8")
    ours = "".join(f'<script defer src="_static/{name}"></script>' for name in (INDEX, SCRIPT))
    page.write_text(page.read_text("utf-8").replace("</head>", f"{ours}</head>", 1), "utf-8")
    (out / "searchindex.js").unlink(missing_ok=True)


def setup(app):
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
