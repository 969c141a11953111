"""The reference of `igrlib` and of the explorers, from their docstrings.

They are plain text with single backticks around code, as they are read in a terminal. What would
be markup to Sphinx and is mathematics to the reader, |a| and θ_0, is escaped here.
"""

import re
import sys
from pathlib import Path
from typing import Literal, get_origin

import numpy.typing
from jaxtyping import ArrayLike
from sphinx.util.typing import stringify_annotation

CODE = re.compile(r"(`[^`]+`)")
# Types in signatures, most of them of other packages. A function that is referred to must be there.
TYPES = [("py:class", ".*"), ("py:obj", ".*"), ("py:data", ".*")]

LINE = 90
"""The longest signature on one line, in characters of Sphinx, which counts names of modules too."""

# What `igrlib` calls a Scalar, written out as Sphinx does it.
SCALAR = stringify_annotation(ArrayLike, "smart")
# What NumPy takes for an array; Sphinx would write out its many members.
ARRAY_LIKE = stringify_annotation(numpy.typing.ArrayLike, "smart")
# What Flax adds to the fields of a module.
OF_FLAX = re.compile(r", parent: .*<flax[^>]*>, name: str \| None = None(?=\))")

# JAX's array under the names of the modules that define it.
ARRAY = re.compile(r"~?(?:\bjax\.)?(?:\bjaxlib\._jax|\bjax)\.Array\b")


# A parameter a line, which Sphinx makes a list of definitions without their terms.
PARAMETERS = re.compile(r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>', re.S)
PARAMETER = re.compile(r"<dd>(.*?)</dd>", re.S)


def unlist(app, page, template, context, doctree):
    """The parameters of a signature as lines of it."""

    def lines(found):
        return PARAMETER.sub(r'<span class="igr-parameter">\1</span>', found[1])

    if "body" in context:
        context["body"] = PARAMETERS.sub(lines, context["body"])


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
    choices = choices_of(sys.modules.get(getattr(obj, "__module__", None)))
    return tuple(text and shortened(text, choices) for text in (signature, returned))


def choices_of(module):
    """The public names of a module's choices, by what Sphinx writes for each."""
    public = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {
        stringify_annotation(value, "smart"): name
        for name, value in public.items()
        if get_origin(value) is Literal
    }


def shortened(text, choices):
    for written, name in choices.items():
        text = text.replace(written, name)
    text = text.replace(SCALAR, "Scalar").replace(ARRAY_LIKE, "ArrayLike")
    text = OF_FLAX.sub("", ARRAY.sub("Array", text))
    text = text.replace("Callable[[...], ", "Callable[..., ")
    # Sphinx cannot read <factory>, and would break the lines at every comma.
    return text.replace("<factory>", "...")


def setup(app):
    sys.path.append(str(Path(__file__).parents[1]))  # of the explorers
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("html-page-context", unlist)
    app.connect("autodoc-process-docstring", escape)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("autodoc-process-signature", shorten)
    app.config.default_role = "code"
    app.config.autodoc_member_order = "bysource"
    app.config.autodoc_typehints = "signature"
    app.config.autodoc_preserve_defaults = True
    app.config.add_module_names = False
    # A signature of several parameters has one on each line, and types by their last name alone.
    app.config.python_maximum_signature_line_length = LINE
    app.config.python_use_unqualified_type_names = True
    app.config.python_display_short_literal_types = True
    app.config.nitpick_ignore_regex = TYPES
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
