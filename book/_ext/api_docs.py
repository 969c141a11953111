"""The reference of `igrlib` and of the explorers, from their docstrings.

They are plain text with single backticks around code, as they are read in a terminal. What would
be markup to Sphinx and is mathematics to the reader, |a| and θ_0, is escaped here.
"""

import re
import sys
from pathlib import Path

import jax
from jaxtyping import ArrayLike
from sphinx.util.typing import stringify_annotation

CODE = re.compile(r"(`[^`]+`)")
# Types in signatures, most of them of other packages. A function that is referred to must be there.
TYPES = [("py:class", ".*"), ("py:obj", ".*"), ("py:data", ".*")]

# What `igrlib` calls a Scalar, written out as Sphinx does it.
SCALAR = stringify_annotation(ArrayLike, "smart")


def escape(app, what, name, obj, options, lines):
    for number, line in enumerate(lines):
        parts = CODE.split(line)
        # Odd parts are code.
        parts[::2] = [re.sub(r"([|\\])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
        lines[number] = "".join(parts)


def leave_out(app, what, name, obj, skip, options):
    """The fields of a named tuple are in its signature, and its docstring says what they are."""
    return (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") or None


def shorten(app, what, name, obj, options, signature, returned):
    """Name what the source names, an alias or an array, and not all that it stands for."""
    return tuple(text and shortened(text) for text in (signature, returned))


def shortened(text):
    return text.replace(SCALAR, "Scalar").replace(f"{jax.Array.__module__}.Array", "Array")


def setup(app):
    sys.path.append(str(Path(__file__).parents[1]))  # of the explorers
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", escape)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-signature", shorten)
    app.config.default_role = "code"
    app.config.autodoc_member_order = "bysource"
    app.config.autodoc_typehints = "signature"
    app.config.autodoc_preserve_defaults = True
    app.config.add_module_names = False
    app.config.nitpick_ignore_regex = TYPES
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
