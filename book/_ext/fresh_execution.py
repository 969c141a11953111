"""Execute the chapters during the build when the environment says IGR_EXECUTE=force.

A chapter that raises then fails the build. Without the variable the stored outputs are shown.
"""

import os
from functools import partial

from myst_nb.core.execute import direct


def setup(app):
    app.connect("config-inited", choose_mode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def choose_mode(app, config):
    mode = os.environ.get("IGR_EXECUTE")
    if mode:
        config.nb_execution_mode = mode
        config.nb_execution_raise_on_error = True
    if mode == "force":
        # What a cell prints arrives in pieces; MyST-NB's own merging breaks the line at each.
        direct.single_nb_execution = partial(direct.single_nb_execution, coalesce_streams=True)
