"""Figures that are drawings stand in the page itself: on its ground, in its colours, in pieces.

A drawing names its colours by what they are on white; a page knows what each is in the dark. On a
phone the panels of a drawing stand below each other, or it scrolls within its own box. What several
drawings define alike, as the letters, a page has once. Pictures of points stay pictures.
"""

import html
import re
import sys
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

from docutils import nodes
from PIL import Image
from reach import meet, reach

sys.path.append(str(Path(__file__).parents[1]))
from explorers._night import dark

DRAWING = re.compile(r"<svg [^>]*\bdata-smallest=")
COLOUR = re.compile(r'\b(fill|stroke)="#([0-9a-f]{6})"')
USED = re.compile(r"var\(--c([0-9a-f]{6})\)")
DEFINED = re.compile(r'<defs class="igr-defs">(.*?)</defs>', re.S)
DEFINITION = re.compile(r'<(\w+) id="(\w+)"(?:[^>]*/>|.*?</\1>)', re.S)
FIRST = re.compile(r'<\w+ class="igr-drawing')
PAINT = 'fill="var(--c000000)" stroke-linejoin="round"'
GROUND = (18, 18, 18)  # of the theme's dark pages
BOLDER = 1.6  # lines of a thumbnail by those of its drawing
READABLE, LEAST = 11, 3.0  # pixels of a text, contrast of a colour with the ground


def inside(drawing, name, said):
    """The markup of a stored drawing: named `said`, its panels also one below the other.

    A piece draws again what reaches into it, and no more: a page has a dozen drawings.
    """
    root = tree(drawing)
    width, height = (float(x) for x in root.get("viewBox").split()[2:])
    scale = READABLE / (float(root.get("data-smallest")) * 4 / 3)
    pieces = [p.split() for p in root.get("data-pieces", "").split(",") if p]
    runs = [
        (f"{name}-{number}", into, coloured("".join(map(markup, parts))))
        for number, (into, parts) in enumerate(parted(root, pieces))
    ]
    cut = "".join(
        f'<svg viewBox="{" ".join(p)}" width="{pixels(p[2])}" height="{pixels(p[3])}" {PAINT} '
        f'style="min-width:{pixels(float(p[2]) * scale)}px">'
        + "".join(f'<use href="#{run}"/>' for run, into, _ in runs if number in into)
        + "</svg>"
        for number, p in enumerate(pieces)
        if any(number in into for _, into, _ in runs)  # a place without a panel has none
    )
    whole = (
        f'<svg class="igr-whole" viewBox="{root.get("viewBox")}" width="{pixels(width)}" '
        f'height="{pixels(height)}" {PAINT}>'
        f'<defs class="igr-defs">{coloured("".join(map(markup, root.find("defs"))))}</defs>'
        + "".join(f'<g id="{run}">{lines}</g>' if into else lines for run, into, lines in runs)
        + "</svg>"
    )
    kind = " igr-parted" if cut else ""
    return (
        f'<div class="igr-drawing{kind}" role="img" aria-label="{html.escape(said)}" '
        f'style="--igr-readable:{pixels(width * scale)}px">{whole}'
        + (f'<span class="igr-pieces">{cut}</span>' if cut else "")
        + "</div>"
    )


def parted(root, pieces):
    """The parts of a drawing in runs, each with the numbers of the pieces that it reaches into."""
    frames = [[float(x) for x in piece] for piece in pieces]
    frames = [(x, y, x + width, y + height) for x, y, width, height in frames]
    definitions = {node.get("id"): node for node in root.find("defs")}

    def reached(part):
        box = reach(part, definitions) if frames else None
        return tuple(k for k, frame in enumerate(frames) if box and meet(box, frame))

    return groupby((part for part in root if part.tag != "defs"), key=reached)


def tree(drawing):
    return ElementTree.fromstring(drawing.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1))


def markup(part):
    return ElementTree.tostring(part, "unicode").replace(" />", "/>")


def small(drawing):
    """The markup of a stored drawing as a thumbnail: its marks alone, bolder.

    Lines, points and areas are cut off at their axes, and arrows have round ends. Nothing else is
    kept: without its text an axis, a tick or the key of a legend says nothing. The thumbnail is as
    wide and as high as the axes.
    """
    root = tree(drawing)
    areas = {
        clip.get("id"): [float(clip[0].get(side)) for side in ("x", "y", "width", "height")]
        for clip in root.iter("clipPath")
        if len(clip) and clip[0].tag == "rect"
    }
    spans = [(x, x + width) for x, _, width, _ in areas.values()]

    def is_mark(part):
        if any("clip-path" in inner.attrib for inner in part.iter()):
            return True
        if part.tag == "image":  # upside down, but from left to right as it is seen
            middle = float(part.get("x")) + float(part.get("width")) / 2
            return any(low < middle < high for low, high in spans)
        return part.tag == "path" and part.get("stroke-linecap") == "round"

    parts = [part for part in root if part.tag != "defs" and is_mark(part)]
    for inner in (inner for part in parts for inner in part.iter() if inner.get("stroke-width")):
        inner.set("stroke-width", f"{BOLDER * float(inner.get('stroke-width')):.3g}")
    lines = "".join(map(markup, parts))
    kept = [found[0] for found in DEFINITION.finditer(drawing) if f"#{found[2]}" in lines]
    left, top = (min(area[k] for area in areas.values()) for k in (0, 1))
    right, bottom = (max(area[k] + area[k + 2] for area in areas.values()) for k in (0, 1))
    edge = 2 * BOLDER  # half of a line at the end of an axis, or of an arrow
    width, height = right - left + 2 * edge, bottom - top + 2 * edge
    box = f"{left - edge:.2f} {top - edge:.2f} {width:.2f} {height:.2f}"
    # Of a list that is longer than a page its beginning.
    fit = ' preserveAspectRatio="xMidYMin slice"' if height > 2 * width else ""
    inner = coloured(f'<defs class="igr-defs">{"".join(kept)}</defs>{lines}')
    return (
        f'<svg class="igr-drawing" viewBox="{box}"{fit} {PAINT} stroke-width="{BOLDER}"'
        f' aria-hidden="true">{inner}</svg>'
    )


def coloured(text):
    """The markup with colours that a page knows on white and in the dark; see `share`."""
    return COLOUR.sub(r'\1="var(--c\2)"', text)


def pixels(points):
    return f"{float(points) * 4 / 3:.0f}"


def place(app, doctree, page):
    """Put drawings into the page, and show pictures at the size that they have at 96 dpi."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image))):
        path = Path(app.srcdir, image["uri"])
        if "jupyter_execute" not in path.parts or not path.is_file():
            continue
        if path.suffix == ".png":
            with Image.open(path) as picture:
                if dpi := picture.info.get("dpi"):
                    image["width"] = f"{picture.width * 96 / dpi[0]:.0f}px"
            image["classes"].append("igr-picture")
        elif path.suffix == ".svg" and DRAWING.match(text := path.read_text("utf-8")):
            name = f"drawing-{page.replace('/', '-')}-{number}"
            shown = inside(text, name, image.get("alt", ""))
            image.replace_self(nodes.raw("", shown, format="html"))


def share(app, page, template, context, doctree):
    """Definitions of a page once, and what its colours are on white and in the dark."""
    body = context.get("body", "")
    colours = sorted(set(USED.findall(body)))
    if not colours:
        return
    definitions = {}

    def moved(found):
        definitions.update((m[2], m[0]) for m in DEFINITION.finditer(found[1]))
        return ""

    body = DEFINED.sub(moved, body)
    light = "".join(f"--c{c}:#{c};" for c in colours)
    night = "".join(f"--c{c}:#{dark(c)};" for c in colours)
    style = f'html{{{light}}}html[data-theme="dark"]{{{night}}}'
    shared = (
        f'<svg class="igr-shared" aria-hidden="true"><style>{style}</style>'
        f"<defs>{''.join(definitions.values())}</defs></svg>"
    )
    context["body"] = FIRST.sub(lambda found: shared + found[0], body, count=1)


def setup(app):
    app.connect("doctree-resolved", place)
    app.connect("html-page-context", share)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
