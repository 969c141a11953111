"""Show the repository's buttons, and Colab's and Binder's, only when its address is set.

Jupyter Book refuses these buttons when `repository: url:` is empty, so they are switched on
here rather than in _config.yml. Colab and Binder open what is on GitHub.
"""

BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button")

LAUNCH = {
    "notebook_interface": "jupyterlab",
    "colab_url": "https://colab.research.google.com",
    "binderhub_url": "https://mybinder.org",
}


def setup(app):
    app.connect("config-inited", switch_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def switch_buttons(app, config):
    known = bool(config.html_theme_options.get("repository_url"))
    config.html_theme_options.update(dict.fromkeys(BUTTONS, known))
    if "github.com" in (config.html_theme_options.get("repository_url") or ""):
        launch = config.html_theme_options.setdefault("launch_buttons", {})
        launch.update(LAUNCH)
