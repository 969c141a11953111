"""The directive `scoreboard`: every verdict of the tables of a page as one sign, with its count.

A table has verdicts in its column *verdict* or *observation*, or in all columns after the first
where these hold nothing else; such a table becomes a grid. A condition in brackets after a verdict
of a grid, as in "reproduced (at 0.01 only)", stands under its sign. Each sign leads to its line of
the table. Where a cell has several verdicts, each is named by what stands before it and a colon.
The cells of a table with a column of verdicts get the class `claim-` and the name of their column,
by which a narrow page stacks them.
"""

import re
from collections import Counter
from typing import NamedTuple

from docutils import nodes
from metadata import plain
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

HEADS = ("verdict", "observation")
# The words of a verdict, each with its sign and the kind that gives the sign its colour.
SIGNS = {
    "holds": ("✓", "yes"),
    "reproduced": ("✓", "yes"),
    "holds as stated under its assumptions": ("(✓)", "yes"),
    "holds in part": ("½", "part"),
    "reproduced in part": ("½", "part"),
    "does not hold": ("✗", "no"),
    "not reproduced": ("✗", "no"),
    "cannot tell": ("?", "open"),
    "not yet tested": ("…", "open"),
}
WORDS = re.compile("|".join(sorted(map(re.escape, SIGNS), key=len, reverse=True)))
IN_GRID = re.compile(rf"({WORDS.pattern})(?: \(([^()]+)\))?")
OF = re.compile(r"([^;,:]+):\s*$")
logger = logging.getLogger(__name__)


class Scoreboard(nodes.General, nodes.Element):
    """Stands for the signs until every table of the page has been read."""


class ScoreboardDirective(SphinxDirective):
    def run(self):
        return [Scoreboard()]


class Verdict(NamedTuple):
    word: str
    claim: str
    of: str
    line: nodes.row
    condition: str = ""

    @property
    def label(self):
        of, under = self.of and f", {self.of}", self.condition and f" ({self.condition})"
        return f"{self.claim}{of}: {self.word}{under}"


def heads(table):
    return [entry.astext().strip() for row in table.findall(nodes.thead) for entry in row[0]]


def lines(table):
    return [list(row) for body in table.findall(nodes.tbody) for row in body]


def is_grid(table):
    """Whether all columns after the first hold verdicts, with or without a condition, alone."""
    others = [cell.astext() for row in lines(table) for cell in row[1:]]
    named = set(heads(table)).intersection(HEADS)
    return bool(not named and others and all(map(IN_GRID.fullmatch, others)))


def verdicts(table, page):
    """The verdicts of a table, line by line; none where it has no verdicts."""
    grid = is_grid(table)
    for row in lines(table):
        claim = " ".join(plain(row[0]).split()).rstrip(",")
        for name, cell in list(zip(heads(table), row, strict=True))[grid:]:
            if not grid and name not in HEADS:
                continue
            text = cell.astext()
            if grid:
                word, condition = IN_GRID.fullmatch(text).groups()
                yield Verdict(word, claim, name, row[0].parent, condition or "")
                continue
            found = []
            for match in WORDS.finditer(text):
                before = OF.search(text[: match.start()])
                of = before[1].strip() if before else ""
                found.append(Verdict(match[0], claim, of, row[0].parent))
            if len({one.of for one in found}) < len(found):
                told = f"scoreboard: verdicts of one cell need names, as in 'digits: holds': {text}"
                logger.warning(told, location=page)
            yield from found


def sign(verdict):
    """One verdict: a link to its line, named by its claim and its word."""
    shown, kind = SIGNS[verdict.word]
    label = verdict.label
    return nodes.reference(
        "",
        "",
        nodes.Text(shown),
        nodes.inline("", f" {label}", classes=["score-label"]),
        internal=True,
        refid=verdict.line["ids"][0],
        reftitle=label,
        classes=["score", f"score-{kind}"],
    )


def page_of(place):
    """The part of a document that is one page: all of it, but for the book as a single one."""
    while place.parent is not None and not isinstance(place, addnodes.start_of_file):
        place = place.parent
    return place


def section_of(table, whole):
    """The section of a table, of the top level below the title of its page."""
    node = table
    while node.parent.parent is not whole:
        node = node.parent
    return node


def row_of(*cells):
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))


def sign_under(verdict):
    """The sign of a verdict of a grid, and its condition if it has one."""
    if not verdict.condition:
        return [sign(verdict)]
    told = nodes.inline("", verdict.condition, classes=["score-condition"])
    return [sign(verdict), nodes.Text(" "), told]


def grid_of(found):
    """Verdicts of a grid as a table: a line for each column of theirs, a column for each line."""
    claims = list(dict.fromkeys(one.claim for one in found))
    names = list(dict.fromkeys(one.of for one in found))
    signs = {(one.claim, one.of): one for one in found}
    body = [
        row_of([nodes.Text(name)], *(sign_under(signs[claim, name]) for claim in claims))
        for name in names
    ]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in ["", *claims]))
    group += nodes.thead("", row_of([nodes.Text("")], *([nodes.Text(claim)] for claim in claims)))
    group += nodes.tbody("", *body)
    return nodes.table("", group, classes=["score-grid"])


def stackable(table):
    """Mark the cells of a table with the names of their columns."""
    table["classes"].append("claims")
    for row in lines(table):
        for name, cell in zip(heads(table), row, strict=True):
            cell["classes"].append(f"claim-{nodes.make_id(name)}")


def board(place, page):
    """The signs of each section that has verdicts, and what the signs mean, with counts."""
    whole, groups, number = page_of(place), {}, 0
    for table in list(whole.findall(nodes.table)):
        found = list(verdicts(table, page))
        if not found:
            continue
        for verdict in found:
            if not verdict.line["ids"]:
                number += 1
                verdict.line["ids"].append(f"claim-{number}")
        section, parts = groups.setdefault(id(section := section_of(table, whole)), (section, []))
        parts.append((is_grid(table), found))
        if not is_grid(table):
            stackable(table)
    if not groups:
        logger.warning("scoreboard: no table of this page has verdicts", location=page)
    made = nodes.container(classes=["scoreboard"])
    for section, parts in groups.values():
        name = nodes.reference(
            "",
            section[0].astext(),
            internal=True,
            refid=section["ids"][0],
            classes=["score-part-name"],
        )
        listed = [one for grid, found in parts if not grid for one in found]
        signs = [part for one in listed for part in (sign(one), nodes.Text(" "))]
        made += nodes.paragraph("", "", name, nodes.Text(" "), *signs)
        made += [grid_of(found) for grid, found in parts if grid]
    every = [one for _, parts in groups.values() for _, found in parts for one in found]
    counts = Counter(one.word for one in every)
    legend = nodes.paragraph(classes=["score-legend"])
    for word, (shown, kind) in SIGNS.items():
        if counts[word]:
            mark = nodes.inline("", shown, classes=["score", f"score-{kind}"])
            told = nodes.Text(f" {word}: {counts[word]}")
            legend += [nodes.inline("", "", mark, told, classes=["score-count"]), nodes.Text(" ")]
    made += legend
    return made


def fill(app, doctree, page):
    for place in list(doctree.findall(Scoreboard)):
        place.replace_self(board(place, page))


def setup(app):
    app.add_node(Scoreboard)
    app.add_directive("scoreboard", ScoreboardDirective)
    app.connect("doctree-resolved", fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
