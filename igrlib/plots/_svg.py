"""Matplotlib's SVG with fewer bytes and the same picture.

What a page shows inside itself must not reach out of its figure: no style sheet, and names of what
is defined (glyphs, markers, clips) that follow from its content. The same glyph has the same name
in every figure, so that a page needs it once.
"""

import re
from base64 import b32encode
from collections.abc import Iterable
from hashlib import sha1
from itertools import groupby
from typing import NamedTuple, TypeAlias
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

__all__ = ["shrink"]

_HREF = "{http://www.w3.org/1999/xlink}href"
_COMMAND = re.compile(r"([MLQCz])([^MLQCz]*)")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_LEFT_OUT = ("metadata", "style", "title", "defs")
_PAINT = ("fill", "stroke", "opacity")
# Points of a line that lie within this distance, in pt, of the line without them.
_FLAT = 0.05
# Tag, attributes and content.
_Part: TypeAlias = tuple[str, dict[str, str], str]


class _Known(NamedTuple):
    """What names of Matplotlib's drawing stand for here, and the radius of each that is a disc."""

    names: dict[str, str]
    radii: dict[str, float]


def shrink(text: str, **attributes: str) -> str:
    """The drawing of `text`, as Matplotlib writes it, with `attributes` at its root."""
    root = ElementTree.fromstring(text)
    known, defined = _known(root)
    inside = "".join(_parts(root, known))
    used = {name for name in defined if f"#{name}" in inside}
    definitions = "".join(defined[name] for name in sorted(used))
    about = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": _rounded(root.attrib["viewBox"]),
        "width": _rounded(root.attrib["width"]),
        "height": _rounded(root.attrib["height"]),
        "fill": "#000000",
        "stroke-linejoin": "round",
    }
    return _element("svg", about | attributes, f"<defs>{definitions}</defs>{inside}")


def _known(root: ElementTree.Element) -> tuple[_Known, dict[str, str]]:
    """What names stand for in `shrink`'s drawing, and the definition of each of these."""
    known = _Known({}, {})
    defined: dict[str, str] = {}
    for definitions in (node for node in root.iter() if _tag(node) == "defs"):
        for node in definitions:
            if "id" not in node.attrib:
                continue
            tag, attributes = _tag(node), _attributes(node, _Known({}, {}))
            inside = "".join(_parts(node, _Known({}, {})))
            digest = sha1(_element(tag, attributes, inside).encode()).digest()
            name = "i" + b32encode(digest)[:6].decode().lower()
            known.names[node.attrib["id"]] = name
            defined[name] = _element(tag, {"id": name} | attributes, inside)
            if radius := _radius(node.attrib.get("d", "")):
                known.radii[f"#{name}"] = radius
    return known, defined


def _radius(path: str) -> float | None:
    """The radius of a path that Matplotlib draws for a disc about the origin, else None."""
    segments = _COMMAND.findall(path)
    if "".join(command for command, _ in segments) != "M" + 8 * "C" + "z":
        return None
    ends = np.array([numbers.split()[-2:] for _, numbers in segments[:-1]], dtype=float)
    lengths = np.hypot(*ends.T)
    return float(lengths[0]) if np.ptp(lengths) < 1e-4 else None


def _parts(parent: ElementTree.Element, known: _Known) -> Iterable[str]:
    """The children of a node, those in a row that are painted alike in one group."""
    found = [part for node in parent for part in _converted(node, known)]
    for paint, alike in groupby(found, key=lambda part: _paint(part[1])):
        group = _joined(_discs(list(alike), known.radii))
        if len(group) < 3 or not paint:
            yield from (_element(*part) for part in group)
        else:
            shared = dict(paint)
            own = [
                (tag, {k: v for k, v in have.items() if shared.get(k) != v}, inside)
                for tag, have, inside in group
            ]
            yield _element("g", dict(paint), "".join(_element(*part) for part in own))


def _converted(node: ElementTree.Element, known: _Known) -> Iterable[_Part]:
    """A node as tag, attributes and content; a group that says nothing is its content."""
    tag = _tag(node)
    if tag in _LEFT_OUT:
        return
    attributes = _attributes(node, known)
    if tag == "g":
        inside = [part for child in node for part in _converted(child, known)]
        if not attributes:
            yield from inside
        elif inside:
            yield tag, attributes, "".join(_parts(node, known))
    elif attributes.get("fill") != "none" or "stroke" in attributes:
        yield tag, attributes, "".join(_parts(node, known))


def _discs(parts: list[_Part], radii: dict[str, float]) -> list[_Part]:
    """Many opaque discs painted alike, as the round ends of lines without length."""
    first = parts[0][1]
    radius = radii.get(first.get("href", ""))
    fill, stroke = first.get("fill", "#000000"), first.get("stroke", "none")
    bare = stroke == "none" or first.get("stroke-opacity") == "0"
    if (
        len(parts) < 8
        or radius is None
        or fill == "none"
        or not (bare or (stroke == fill and "stroke-opacity" not in first))
        or any(name in first for name in ("fill-opacity", "opacity", "transform"))
        or any(have.keys() != first.keys() for _, have, _ in parts)
        or any(have["href"] != first["href"] for _, have, _ in parts)
    ):
        return parts
    edge = 0.0 if bare else float(first.get("stroke-width", 1))
    points = np.array([[have.get("x", 0), have.get("y", 0)] for _, have, _ in parts], dtype=float)
    steps = np.diff(points, axis=0, prepend=0)
    line = {
        "d": "".join(f"{'m' if n else 'M'}{_list(step)}h0" for n, step in enumerate(steps)),
        "fill": "none",
        "stroke": fill,
        "stroke-width": _number(2 * radius + edge),
        "stroke-linecap": "round",
    }
    return [("path", line, "")]


def _joined(parts: list[_Part]) -> list[_Part]:
    """Paths painted alike as one, where that is the same picture: lines, or fills, but opaque."""
    first = parts[0][1]
    shown = [name for name in first if "opacity" in name or name in ("transform", "clip-path")]
    both = first.get("fill") != "none" and "stroke" in first
    same = {tuple(sorted((k, v) for k, v in have.items() if k != "d")) for _, have, _ in parts}
    if (
        len(parts) < 2
        or shown
        or both
        or len(same) > 1
        or any(tag != "path" for tag, _, _ in parts)
    ):
        return parts
    return [("path", first | {"d": "".join(have["d"] for _, have, _ in parts)}, "")]


def _paint(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Of attributes those that say how something is painted."""
    paint = {k: v for k, v in attributes.items() if k.partition("-")[0] in _PAINT}
    # The opacity of a group differs from the opacity of its parts.
    return () if "opacity" in paint else tuple(sorted(paint.items()))


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _attributes(node: ElementTree.Element, known: _Known) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.attrib.items():
        match key:
            case "id":
                pass
            case "d":
                found["d"] = _path(value)
            case "style":
                pairs = (pair.partition(":") for pair in value.split(";") if pair.strip())
                found |= {name.strip(): _rounded(given.strip()) for name, _, given in pairs}
            case "clip-path":
                found[key] = f"url(#{known.names.get(value[5:-1], value[5:-1])})"
            case _ if key == _HREF:
                found["href"] = f"#{known.names[value[1:]]}" if value[1:] in known.names else value
            case _:
                found[key] = _rounded(value)
    moved = re.fullmatch(r"translate\((\S+) (\S+)\)", found.get("transform", ""))
    if moved and _tag(node) == "use" and "x" not in found:
        del found["transform"]
        found |= {"x": moved[1], "y": moved[2]}
    if _tag(node) == "use":
        found = {k: v for k, v in found.items() if k not in ("x", "y") or v != "0"}
    # What is so anyway.
    usual = {"stroke-linejoin": "round", "stroke-linecap": "butt", "stroke-width": "1"}
    return {k: v for k, v in found.items() if usual.get(k) != v}


def _element(tag: str, attributes: dict[str, str], inside: str) -> str:
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def _rounded(text: str) -> str:
    """Every decimal of a text with two places; factors smaller than 0.1 with six."""
    return _NUMBER.sub(lambda m: _number(float(m[0]), 2 if abs(float(m[0])) >= 0.1 else 6), text)


def _number(value: float, places: int = 2) -> str:
    text = f"{value:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return "0" if text in ("-0", "") else text


def _path(text: str) -> str:
    """A path without invisible points, written in steps from point to point."""
    runs: list[tuple[str, np.ndarray]] = []
    for command, numbers in _COMMAND.findall(text):
        points = np.array(numbers.split(), dtype=float).reshape(-1, 2)
        if runs and runs[-1][0] == command == "L":
            points = np.concatenate([runs.pop()[1], points])
        runs.append((command, points))
    found, here, start = [], np.zeros(2), np.zeros(2)
    for command, points in runs:
        if command == "z":
            found.append("z")
            here = start
            continue
        if command == "L" and len(points) > 2:
            points = _seen(np.concatenate([here[None], points]))[1:]
        # Start from the rounded point, so that rounding errors do not add up.
        points = np.round(points, 2)
        if command == "M":
            here = start = points[-1]
            found.append("M" + _list(points))
            continue
        size = {"L": 1, "Q": 2, "C": 3}[command]
        ends = np.concatenate([here[None], points[size - 1 :: size][:-1]])
        found.append(command.lower() + _list(points - np.repeat(ends, size, axis=0)))
        here = points[-1]
    return "".join(found)


def _list(points: np.ndarray) -> str:
    """Numbers with a blank between two that would be read as one."""
    text, before = "", "."
    for number in map(_number, points.ravel().tolist()):
        parted = number.startswith("-") or (number.startswith(".") and "." in before)
        text += number if parted or not text else f" {number}"
        before = number
    return text


def _seen(points: np.ndarray) -> np.ndarray:
    """Ramer, Douglas and Peucker's choice of points: none left out is off by more than `_FLAT`."""
    kept = np.zeros(len(points), bool)
    kept[[0, -1]] = True
    parts = [(0, len(points) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        chord, beyond = points[last] - points[first], points[first + 1 : last] - points[first]
        square = chord @ chord
        # To the segment, not its line: a curve may turn back.
        along = np.clip(beyond @ chord / square, 0, 1) if square else np.zeros(len(beyond))
        off = np.hypot(*(beyond - along[:, None] * chord).T)
        if off.max() > _FLAT:
            middle = first + 1 + int(off.argmax())
            kept[middle] = True
            parts += [(first, middle), (middle, last)]
    return points[kept]
