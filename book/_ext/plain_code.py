"""Names, punctuation and blanks in code are text, not elements: they have the colour of code.

They are most of what highlighting adds, a quarter of a chapter's bytes.
"""

import re

BLOCK = re.compile(r'<div class="highlight">.*?</pre>', re.S)
UNCOLOURED = re.compile(r'<span class="[npw]">([^<]*)</span>')


def lighten(app, page, template, context, doctree):
    if "body" in context:
        context["body"] = BLOCK.sub(lambda m: UNCOLOURED.sub(r"\1", m[0]), context["body"])


def setup(app):
    # After first_use, which finds names by their elements.
    app.connect("html-page-context", lighten, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
