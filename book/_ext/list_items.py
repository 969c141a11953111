"""The entries of the bibliography are items of a list, for those who have the page read out.

docutils gives them the role doc-biblioentry, which is deprecated and may not stand in a list.
"""


def mend(app, pagename, templatename, context, doctree):
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
