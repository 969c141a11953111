"""An explorer as HTML: its box, its data and its scripts."""

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Explorer", "script"]

SHARED = ("stage", "play", "address")
SCRIPTS = {
    "step": ("numbers", *SHARED, "alive", "step"),
    "phase": ("numbers", "model", *SHARED, "alive", "phase"),
    "optimizer": ("numbers", *SHARED, "alive", "optimizer"),
    "sweep": ("numbers", *SHARED, "sweep"),
    "parabola": ("numbers", *SHARED, "alive", "parabola"),
    "catapult": ("numbers", "model", *SHARED, "alive", "catapult"),
    "loss": ("numbers", "formula", *SHARED, "alive", "loss"),
    "river": ("numbers", *SHARED, "river"),
    "dial": ("numbers", *SHARED, "dial"),
    "ellipse": ("numbers", *SHARED, "ellipse"),
    "rescale": ("numbers", *SHARED, "rescale"),
    "decay": ("numbers", *SHARED, "alive", "parabola", "decay"),
}
"""The files that each explorer runs, in order."""

STYLED = ("alive", "loss", "sweep", "dial", "ellipse", "rescale")
"""The files with a style sheet of their own."""


def script(name: str) -> str:
    """The JavaScript of the explorer `name`, a key of `SCRIPTS`, as one text.

    It defines `globalThis.IGR` and touches no page until `IGR.stage.mount()` is called, so that
    Node can run it.

    Raises `ValueError` for another name.

    Source: the first page and chapters 2, 3, 4, 5, 7, 8, 10 and 11.
    """
    if name not in SCRIPTS:
        raise ValueError(f"name must be one of {', '.join(SCRIPTS)}, got {name!r}")
    lines = "\n".join(_file(f"{part}.js") for part in SCRIPTS[name]).splitlines()
    # Comments and indentation are for those who read the files, not for those who load the page.
    return "\n".join(s for s in map(str.strip, lines) if s and not s.startswith("//"))


@dataclass(frozen=True)
class Explorer:
    """A figure that a reader moves, shown by Jupyter and by the book.

    `title` stands over it; `figure` is the label of a still figure of the chapter, which a reader
    without scripts is sent to; `data` is what its script reads, anything that JSON can hold.
    `still`, where there is one, is HTML that is shown until the script has drawn.

    Raises `ValueError` for a `name` of which there is no script.

    Source: the first page and chapters 2, 3, 4, 5, 7, 8, 10 and 11.
    """

    name: str
    title: str
    figure: str = field(repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    still: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        script(self.name)

    def _repr_html_(self) -> str:
        # A tag inside of the data would be one of the page.
        data = json.dumps(self.data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        link = f'<a href="#{html.escape(self.figure)}">The figure in the text</a>'
        still = (
            f'<div class="igr-still">{self.still}</div>'
            if self.still
            else f"<noscript><p>Scripts are off. {link} shows one setting of it.</p></noscript>"
        )
        return (
            f"<style>{_style(self.name)}</style>\n"
            f'<section class="igr-explorer" id="explorer-{self.name}"'
            f' data-igr-explorer="{self.name}"'
            f' aria-label="{html.escape(self.title)}">\n'
            f'<p class="igr-title">{html.escape(self.title)}</p>\n'
            f"{still}\n"
            f'<script type="application/json">{data}</script>\n</section>\n'
            f"<script>\n{script(self.name)}\nIGR.stage.mount();\n</script>"
        )


def _style(name: str) -> str:
    """The style of all explorers, and what the parts of this one add."""
    added = (_file(f"{part}.css") for part in SCRIPTS[name] if part in STYLED)
    return _file("style.css") + "".join(added)


def _file(name: str) -> str:
    return Path(__file__).with_name("scripts").joinpath(name).read_text("utf-8")
