"""How far the parts of a drawing reach: boxes (left, top, right, bottom) in its own units."""

import re
from functools import cache
from math import radians

from fontTools.misc.arrayTools import calcBounds, insetRect, sectRect, unionRect
from fontTools.misc.transform import Transform
from fontTools.pens.boundsPen import ControlBoundsPen
from fontTools.svgLib.path import parse_path

STEP = re.compile(r"(translate|scale|rotate)\(([^)]*)\)")


def reach(part, definitions):
    """The box of a part and of its line, at most a little too large, or None if nothing is drawn.

    `definitions` has the nodes that names stand for. What is cut off reaches to its clip.
    """
    box = None
    if part.tag == "path":
        box = grown(extent(part.get("d", "")), part, 1)
    elif part.tag == "image":
        box = rectangle(part)
    elif part.tag == "use":
        x, y = float(part.get("x", 0)), float(part.get("y", 0))
        box = moved(reach(definitions[part.get("href")[1:]], definitions), Transform(dx=x, dy=y))
        box = grown(box, part, 1)
    for inner in part:
        box = union(box, grown(reach(inner, definitions), part))
    box = moved(box, transform(part.get("transform", "")))
    if box and (clip := part.get("clip-path")):
        met, box = sectRect(box, rectangle(definitions[clip[len("url(#") : -1]][0]))
        box = box if met else None
    return box


@cache
def extent(path):
    """The box of the control points of a path."""
    pen = ControlBoundsPen(None)
    parse_path(path, pen)
    return pen.bounds


def rectangle(part):
    x, y, width, height = (float(part.get(side, 0)) for side in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def grown(box, part, usual=0):
    """A box with half of the part's line around it."""
    width = float(part.get("stroke-width", usual)) / 2
    return insetRect(box, -width, -width) if box and width else box


def transform(text):
    found = Transform()
    for name, numbers in STEP.findall(text):
        given = [float(n) for n in numbers.replace(",", " ").split()]
        found = getattr(found, name)(*(map(radians, given) if name == "rotate" else given))
    return found


def moved(box, by):
    if not box or by == Transform():
        return box
    left, top, right, bottom = box
    return calcBounds(
        by.transformPoints([(left, top), (left, bottom), (right, top), (right, bottom)])
    )


def union(one, other):
    return unionRect(one, other) if one and other else one or other


def meet(one, other):
    return sectRect(one, other)[0]
