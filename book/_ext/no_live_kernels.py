"""Switch off sphinx-thebe, which Jupyter Book always loads.

It would put the address of a remote script and a kernel request on every page; this book shows
outputs that were computed and checked, and needs no server.
"""


def setup(app):
    app.connect("config-inited", disconnect_thebe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def disconnect_thebe(app, config):
    listeners = [listener for group in app.events.listeners.values() for listener in group]
    for listener in listeners:
        if listener.handler.__module__ == "sphinx_thebe":
            app.disconnect(listener.id)
    sheets = app.registry.css_files
    sheets[:] = [sheet for sheet in sheets if sheet[0] != "sphinx-thebe.css"]
