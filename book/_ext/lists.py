"""The directive `book-list`: all theorems, figures or exercises of the book, by chapter."""

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

# The counters that number them.
COUNTERS = {"theorems": "theorem", "figures": "figure", "exercises": "exercise"}


class BookList(nodes.General, nodes.Element):
    """Stands for a list until every page has been read."""


class BookListDirective(SphinxDirective):
    required_arguments = 1
    option_spec = {}  # noqa: RUF012

    def run(self):
        return [BookList(what=directives.choice(self.arguments[0], list(COUNTERS)))]


def titled(node, what):
    """What an item is called, as nodes: the title of a theorem, the bold sentence of a caption."""
    if what == "figures":
        caption = next(iter(node.findall(nodes.caption)), None)
        bold = next(iter(caption.findall(nodes.strong)), None) if caption is not None else None
        return plain(bold.children) if bold is not None else []
    title = next(iter(node.findall(nodes.title)), None)
    if title is None:
        return []
    # In parentheses, as it stands behind the number.
    found = plain(title.children)
    first, final = found[0].astext(), found[-1].astext()
    if first.lstrip().startswith("(") and final.rstrip().endswith(")"):
        found[0] = nodes.Text(first.lstrip()[1:])
        found[-1] = nodes.Text(found[-1].astext().rstrip()[:-1])
    return found


def plain(children):
    """Copies without links: what is listed is a link itself."""
    found = []
    for child in children:
        if isinstance(child, nodes.Text | nodes.math):
            found.append(child.deepcopy() if isinstance(child, nodes.math) else nodes.Text(child))
        else:
            found += plain(child.children)
    return found


def kind_of(node, what):
    kinds = [c for c in node.get("classes", []) if c not in ("proof", "exercise")]
    return (kinds[0] if what == "theorems" and kinds else COUNTERS[what]).capitalize()


def fill(app, doctree, page):
    for place in list(doctree.findall(BookList)):
        what, found = place["what"], []
        for chapter in app.env.toctree_includes[app.config.root_doc]:
            numbers = app.env.toc_fignumbers.get(chapter, {}).get(COUNTERS[what], {})
            if numbers:
                found += chapter_list(app, page, chapter, numbers, what)
        place.replace_self(found)
        # Titles and captions have formulas; without this the page would not load what sets them.
        app.env.get_domain("math").data["has_equations"][page] = True


def chapter_list(app, page, chapter, numbers, what):
    # As it was read: in a page that is resolved, formulas are markup, and joined to what is beside.
    read = app.env.get_doctree(chapter)
    by_id = {i: node for node in read.findall(nodes.Element) for i in node.get("ids", [])}
    items = nodes.bullet_list()
    for anchor, number in numbers.items():
        label = f"{kind_of(by_id[anchor], what)} {'.'.join(map(str, number))}"
        uri = f"{app.builder.get_relative_uri(page, chapter)}#{anchor}"
        line = nodes.paragraph("", "", nodes.reference("", label, internal=True, refuri=uri))
        if title := titled(by_id[anchor], what):
            line += [nodes.Text(": "), *title]
        items += nodes.list_item("", line)
    heading = nodes.rubric("", app.env.titles[chapter].astext())
    return [heading, items]


def setup(app):
    app.add_node(BookList)
    app.add_directive("book-list", BookListDirective)
    app.connect("doctree-resolved", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
