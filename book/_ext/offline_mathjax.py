"""Serve MathJax from the book itself, so that it shows its mathematics without a network.

The wheel sphinx-mathjax-offline carries all of MathJax (24 MB). One self-contained file is
enough: SVG output needs no fonts (which some browsers refuse to load from file://), and the
"full" build has every TeX extension inside, so nothing is fetched later.
"""

import importlib.util
from pathlib import Path

from sphinx.util.fileutil import copy_asset

FILE = "tex-svg-full.js"


def setup(app):
    app.connect("config-inited", point_to_copy)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def point_to_copy(app, config):
    config.mathjax_path = f"mathjax/{FILE}"


def copy_mathjax(app, exception):
    if exception is None and app.builder.format == "html":
        # The package's name has hyphens, so it is found, not imported.
        package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
        copy_asset(package / "static/mathjax" / FILE, Path(app.outdir, "_static/mathjax"))
