"""What a chapter takes to read, below its title, and in the table of `reading-times`."""

import math

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WORDS_A_MINUTE = 150  # of a text with formulas in its lines
MINUTES = {nodes.math_block: 0.5, nodes.figure: 0.5, nodes.literal_block: 0.3}
STEP = 5


class ReadingTimes(nodes.General, nodes.Element):
    """Stands for the table until every page has been read."""


class ReadingTimesDirective(SphinxDirective):
    def run(self):
        return [ReadingTimes()]


def is_exercise(node):
    return isinstance(node, nodes.Element) and bool(
        {"exercise", "solution"} & set(node.get("classes", []))
    )


def minutes(doctree):
    """An estimate, rounded up to five minutes, without exercises and their solutions."""
    doctree = doctree.deepcopy()
    for node in list(doctree.findall(is_exercise)):
        if node.parent is not None:
            node.parent.remove(node)
    spent = sum(each * len(list(doctree.findall(kind))) for kind, each in MINUTES.items())
    # What is left is prose: neither code nor the scripts and pictures that it made.
    for kind in (*MINUTES, nodes.raw, nodes.container):
        for node in list(doctree.findall(kind)):
            node.parent.remove(node)
    return STEP * math.ceil((spent + len(doctree.astext().split()) / WORDS_A_MINUTE) / STEP)


def told(total):
    """A time as a reader would say it: 35 minutes, 2 hours, 2½ hours."""
    if total < 90:
        return f"{total} minutes"
    hours, half = divmod(round(total / 30), 2)
    return f"{hours}{'½' if half else ''} hours"


def chapters(app):
    """The numbered pages, in order."""
    numbers = app.env.toc_secnumbers
    pages = app.env.toctree_includes[app.config.root_doc]
    return [(page, numbers[page][""]) for page in pages if numbers.get(page, {}).get("")]


def row(cells):
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells])


def num_exercises(app, chapter):
    return len(app.env.toc_fignumbers.get(chapter, {}).get("exercise", {}))


def table(app, page):
    body = nodes.tbody()
    for chapter, number in chapters(app):
        uri = app.builder.get_relative_uri(page, chapter)
        title = f"{'.'.join(map(str, number))}. {app.env.titles[chapter].astext()}"
        body += row(
            [
                nodes.reference("", title, internal=True, refuri=uri),
                nodes.Text(told(minutes(app.env.get_doctree(chapter)))),
                nodes.Text(str(num_exercises(app, chapter))),
            ]
        )
    head = nodes.thead("", row([nodes.Text(t) for t in ("chapter", "to read", "exercises")]))
    columns = [nodes.colspec(colwidth=width) for width in (60, 20, 20)]
    return nodes.table("", nodes.tgroup("", *columns, head, body, cols=3))


def fill(app, doctree, page):
    for place in list(doctree.findall(ReadingTimes)):
        place.replace_self(table(app, page))
    if page in dict(chapters(app)):
        time = f"{told(minutes(app.env.get_doctree(page)))} to read"
        if exercises := num_exercises(app, page):
            time += f", {exercises} exercises"
        title = next(doctree.findall(nodes.title))
        title.parent.insert(1, nodes.paragraph("", time, classes=["igr-time"]))


def setup(app):
    app.add_node(ReadingTimes)
    app.add_directive("reading-times", ReadingTimesDirective)
    app.connect("doctree-resolved", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
