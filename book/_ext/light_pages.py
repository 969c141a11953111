"""Pages load what they use: icons as a font of the few that are shown, and no index of the book.
They say once how wide they are: docutils, Sphinx and the theme each say it.

The theme draws its icons by a script of 1.5 MB, whose style sheet can do the same with a font, and
has every page load the index of the whole book, for which section_search has its own.
"""

import base64
import io
import re
import shutil
from pathlib import Path

from fontTools import subset

ICON = re.compile(r"((?:\.fa-[\w-]+:before,?)+)\{content:\"\\(\w+)\"\}")
USED = re.compile(r"\bfa-[\w-]+")
SCRIPT = re.compile(r'\s*<script defer src="[^"]*/fontawesome\.js[^"]*"></script>')
SEARCH = re.compile(
    r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>'
)

VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')

SOLID = re.compile(
    r'url\([^)]*fa-solid-900\.woff2\) format\("woff2"\),'
    r'url\([^)]*fa-solid-900\.ttf\) format\("truetype"\)'
)


def lighten(app, exception):
    if exception is not None or app.builder.name != "html":
        return
    out, used = Path(app.outdir), {"fa-magnifying-glass"}
    for page in out.rglob("*.html"):
        text = page.read_text("utf-8")
        used |= set(USED.findall(text))
        lighter = once(VIEWPORT, SEARCH.sub("", SCRIPT.sub("", text)))
        if lighter != text:
            page.write_text(lighter, "utf-8")
    static = out / "_static"
    for file in static.glob("scripts/fontawesome.js*"):
        file.unlink()
    for file in static.rglob("*.map"):
        file.unlink()
    for file in static.glob("*webpack-macros.html"):
        file.unlink()
    used |= {
        name for path in static.glob("scripts/*.js") for name in USED.findall(path.read_text())
    }
    sheet, fonts = static / "styles/pydata-sphinx-theme.css", static / "vendor/fontawesome/webfonts"
    text, points = icons(sheet.read_text("utf-8"), used)
    data = base64.b64encode(only(fonts / "fa-solid-900.ttf", points)).decode()
    # In the sheet itself: some browsers load no font of another folder from file://.
    text = SOLID.sub(f"url(data:font/ttf;base64,{data})", text)
    sheet.write_text(text, "utf-8")
    shutil.rmtree(static / "vendor")


def once(pattern, text):
    """The text with the first match of a pattern, and without the others."""
    first = pattern.search(text)
    end = first.end() if first else len(text)
    return text[:end] + pattern.sub("", text[end:])


def icons(text, used):
    """A style sheet without the icons that no page shows, and the characters of the others."""
    points = set()

    def kept(rule):
        if not used & set(USED.findall(rule[1])):
            return ""
        points.add(int(rule[2], 16))
        return rule[0]

    return ICON.sub(kept, text), points


def only(path, points):
    """The font with these characters alone."""
    options = subset.Options(glyph_names=False)
    font = subset.load_font(str(path), options)
    cut = subset.Subsetter(options)
    cut.populate(unicodes=points)
    cut.subset(font)
    made = io.BytesIO()
    font.save(made)
    return made.getvalue()


def setup(app):
    app.connect("build-finished", lighten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
