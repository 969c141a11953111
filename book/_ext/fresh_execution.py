"""Execute the chapters during the build when the environment says IGR_EXECUTE=force.

A chapter that raises then fails the build. Without the variable the stored outputs are shown.
"""

import os


def setup(app):
    app.connect("config-inited", choose_mode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def choose_mode(app, config):
    mode = os.environ.get("IGR_EXECUTE")
    if mode:
        config.nb_execution_mode = mode
        config.nb_execution_raise_on_error = True
