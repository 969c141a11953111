"""The directive `scoreboard`: every verdict of the tables of a page as one sign, with its count.

A table has verdicts in its column *verdict* or *observation*, or in all columns behind the first
where these hold nothing else. Each sign leads to its line of the table.
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
logger = logging.getLogger(__name__)


class Scoreboard(nodes.General, nodes.Element):
    """Stands for the signs until every table of the page has been read."""


class ScoreboardDirective(SphinxDirective):
    def run(self):
        return [Scoreboard()]


class Verdict(NamedTuple):
    word: str
    claim: str
    line: nodes.row


def verdicts(table):
    """The verdicts of a table, line by line; none where it has no verdicts."""
    head = [entry.astext().strip() for row in table.findall(nodes.thead) for entry in row[0]]
    rows = [list(row) for body in table.findall(nodes.tbody) for row in body]
    named = [k for k, name in enumerate(head) if name in HEADS]
    others = [cell.astext() for row in rows for cell in row[1:]]
    if not named and others and all(map(WORDS.fullmatch, others)):
        named = range(1, len(head))
    for row in rows:
        for k in named:
            aside = "" if head[k] in HEADS else f", {head[k]}"
            for word in WORDS.findall(row[k].astext()):
                yield Verdict(
                    word, " ".join(plain(row[0]).split()).rstrip(",") + aside, row[0].parent
                )


def sign(verdict):
    """One verdict: a link to its line, named by its claim and its word."""
    shown, kind = SIGNS[verdict.word]
    label = f"{verdict.claim}: {verdict.word}"
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


def board(place, page):
    """A line of signs for each section that has verdicts, and what the signs mean, with counts."""
    whole, groups, number = page_of(place), {}, 0
    for table in whole.findall(nodes.table):
        for verdict in verdicts(table):
            if not verdict.line["ids"]:
                number += 1
                verdict.line["ids"].append(f"claim-{number}")
            groups.setdefault(id(section := section_of(table, whole)), (section, []))[1].append(
                verdict
            )
    if not groups:
        logger.warning("scoreboard: no table of this page has verdicts", location=page)
    made = nodes.container(classes=["scoreboard"])
    for section, found in groups.values():
        name = nodes.reference(
            "",
            section[0].astext(),
            internal=True,
            refid=section["ids"][0],
            classes=["score-part-name"],
        )
        signs = [part for one in found for part in (sign(one), nodes.Text(" "))]
        made += nodes.paragraph("", "", name, nodes.Text(" "), *signs)
    counts = Counter(one.word for _, found in groups.values() for one in found)
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
