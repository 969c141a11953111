"""The whole book as one page, from which `make pdf` prints.

sphinx-exercise registers handlers for the builder `singlehtml`, and Sphinx then looks nowhere else:
those of notebooks, registered for `html`, have to be put under them.
"""


def setup(app):
    app.connect("builder-inited", share_handlers)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def share_handlers(app):
    if app.builder.name == "singlehtml":
        handlers = app.registry.translation_handlers
        handlers["singlehtml"] = handlers.get("html", {}) | handlers.get("singlehtml", {})
