"""Show the repository, issue and edit buttons only when the repository's address is set.

Jupyter Book refuses these buttons when `repository: url:` is empty, so they are switched on
here rather than in _config.yml.
"""

BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button")


def setup(app):
    app.connect("config-inited", switch_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def switch_buttons(app, config):
    known = bool(config.html_theme_options.get("repository_url"))
    config.html_theme_options.update(dict.fromkeys(BUTTONS, known))
