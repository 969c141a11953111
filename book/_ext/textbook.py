"""A page of a textbook: quiet code under its figure, solutions folded, no bar that hides nothing.

A cell that draws a figure is folded under one link below the caption; code without an output goes
with the next such link of its section; a cell that only hands numbers to the text is left out. All
are <details>, which open without scripts.
"""

import re

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import solution_node, solution_title

HANDED_ON = re.compile(r"^(?:glue\(|for |if |else:|[ )\]}#]|$)")
ENDS = "(What we found|Open questions|Exercises|Where to go next|References)"
NUMBER = re.compile(rf'(<h2>)<span class="section-number">[\d.]+ ?</span>{ENDS}')
ENTRY = re.compile(rf">[\d.]+ {ENDS}<")
PERCENT = re.compile(r"(?<=\d) %")
NAME = re.compile(r'<span class="pre">([\w.]*\w_\w[\w.]*)')
NOT_PROSE = nodes.literal | nodes.literal_block | nodes.raw | nodes.math | nodes.math_block
OF_FIGURE, OF_CELL = "Code of this figure", "Code"


def is_cell(node):
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def part(cell, element):
    found = [node for node in cell.children if node.get("nb_element") == element]
    return found[0] if found else None


def has_figure(cell):
    output = part(cell, "cell_code_output")
    return output is not None and any(True for _ in output.findall(nodes.figure))


def only_hands_on(code):
    """Whether the lines of a cell are calls of `glue` alone."""
    lines = code.astext().splitlines()
    return any("glue(" in line for line in lines) and all(HANDED_ON.match(line) for line in lines)


class Fold(SphinxPostTransform):
    """Before MyST-NB folds what is to be hidden: every cell that draws a figure is."""

    default_priority = 198
    formats = ("html",)

    def run(self, **kwargs):
        for cell in list(self.document.findall(is_cell)):
            code, output = part(cell, "cell_code_source"), part(cell, "cell_code_output")
            if code is None:
                continue
            if cell.get("hide_mode") == "input" and output is None and only_hands_on(code):
                cell.parent.remove(cell)
            elif has_figure(cell) and cell.get("hide_mode") in (None, "input"):
                cell["hide_mode"] = "input"
                cell["prompt_show"] = cell["prompt_hide"] = OF_FIGURE
            elif cell.get("hide_mode") == "input":
                cell["prompt_show"] = cell["prompt_hide"] = OF_CELL


class Place(SphinxPostTransform):
    """After it: the link stands below what the code makes, and neighbours share one."""

    default_priority = 200
    formats = ("html",)

    def run(self, **kwargs):
        for cell in list(self.document.findall(is_cell)):
            if (fold := fold_of(cell)) is not None and len(cell.children) > 1:
                cell.remove(fold)
                cell.append(fold)
        # From the last to the first, so that several in a row end up in one.
        for cell in reversed(list(self.document.findall(is_cell))):
            if fold_of(cell) is not None and len(cell.children) == 1:
                self.join(cell)

    def join(self, cell):
        """Let code without an output go with that of the next cell of its section, or the last.

        Text may stand between, but no code that is shown: it would no longer come in order.
        """
        place, around = cell.parent.index(cell), cell.parent.children
        code = fold_of(cell).children
        if (fold := first_fold(around[place + 1 :])) is not None:
            fold[:0] = code
        elif (fold := first_fold(reversed(around[:place]))) is not None:
            fold.extend(code)
        else:
            return
        cell.parent.remove(cell)


def first_fold(around):
    """What the first cell among these folds; None where it is shown or lies in another section."""
    for node in around:
        if is_cell(node) or isinstance(node, nodes.section):
            return fold_of(node)
    return None


def fold_of(node):
    """What a cell folds, or None."""
    folds = [child for child in node.children if isinstance(child, HideCodeCellNode)]
    return folds[0] if folds and is_cell(node) else None


def open_fold(self, node):
    self.body.append(f'<details class="igr-code"><summary>{node["prompt_show"]}</summary>\n')


def open_solution(self, node):
    ids = "".join(f' id="{name}"' for name in node["ids"][:1])
    self.body.append(f'<details class="igr-solution"{ids}><summary>Solution</summary>\n')


def close(self, node):
    self.body.append("</details>\n")


def leave_out(self, node):
    raise nodes.SkipNode


def keep_together(app, doctree, page):
    """A number and its per cent stand on one line, wherever the number comes from."""
    before = ""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, NOT_PROSE):
            kept = PERCENT.sub("\u00a0%", text)
            if kept.startswith(" %") and before[-1:].isdigit():
                kept = "\u00a0" + kept[1:]
            if kept != text:
                text.parent.replace(text, nodes.Text(kept))
        before = text.astext()


def breakable(app, page, template, context, doctree):
    """A long name in code may break after an underscore, and nowhere else."""
    if "body" in context:
        context["body"] = NAME.sub(lambda m: m[0].replace("_", "_<wbr>"), context["body"])


def unname(app, page, template, context, doctree):
    """sphinx-proof and sphinx-exercise give the content of every box of a page the same id."""
    if "body" in context:
        body = re.sub(r' id="(?:proof|exercise|solution)-content"', "", context["body"])
        body = body.replace('<div class="proof admonition" id="proof">', '<div class="igr-proof">')
        context["body"] = body.replace("<p>Proof. ", "<p><em>Proof.</em> ")


def unnumber(app, page, template, context, doctree):
    """What ends every chapter under the same name has no number."""
    if "body" in context:
        context["body"] = NUMBER.sub(r"\1\2", context["body"])
    if "toc" in context:
        context["toc"] = ENTRY.sub(r">\1<", context["toc"])


def setup(app):
    for name in ("sphinx_proof", "sphinx_exercise", "myst_nb"):
        app.setup_extension(name)
    app.add_node(HideCodeCellNode, override=True, html=(open_fold, close))
    app.add_node(solution_node, override=True, html=(open_solution, close))
    app.add_node(solution_title, override=True, html=(leave_out, None))
    app.add_post_transform(Fold)
    app.add_post_transform(Place)
    app.connect("doctree-resolved", keep_together)
    app.connect("html-page-context", breakable)
    app.connect("html-page-context", unname)
    app.connect("html-page-context", unnumber)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
