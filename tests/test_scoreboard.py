"""The directive `scoreboard`, in a book of one page."""

import re
from io import StringIO
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

EXTENSIONS = Path(__file__).resolve().parent.parent / "book" / "_ext"
CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "scoreboard"]
myst_enable_extensions = ["dollarmath"]
html_theme = "basic"
"""
PAGE = r"""
```{scoreboard}
```

## Theory

| the paper | verdict | evidence |
| --- | --- | --- |
| $\Etilde$ is $E + \frac h4\norm{\grad E}^2$ | holds | it does not hold water, but holds |
| larger networks, | does not hold | a counterexample |
| $\bigO{h^{n+1}}$ | holds in part | |

## Runs

| the paper | observation |
| --- | --- |
| two sets | digits: not reproduced; MNIST: reproduced in part |

### Below

| prediction | few | many |
| --- | --- | --- |
| P1 | reproduced | cannot tell |
| P2 | reproduced in part (at 0.01 only) | not reproduced |

| rival | when |
| --- | --- |
| kinks | reproduced with ReLU |
"""


@pytest.fixture
def page(tmp_path):
    """A function from MyST to the HTML of its page and to what was warned of."""

    def build(text, builder="html", **others):
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "conf.py").write_text(CONF)
        (source / "index.md").write_text(f"# Title\n\n{text}\n")
        for name, other in others.items():
            (source / f"{name}.md").write_text(other)
        out, warnings = tmp_path / "out", StringIO()
        with docutils_namespace():  # each application begins with no node of another
            trees = tmp_path / "trees"
            Sphinx(source, source, out, trees, builder, status=None, warning=warnings).build()
        return (out / "index.html").read_text(), warnings.getvalue()

    return build


def test_each_verdict_is_a_sign_that_leads_to_its_line(page):
    html, warned = page(PAGE)
    assert warned == ""
    (board,) = re.findall(r'<div class="[^"]*scoreboard.*?</div>', html, re.S)
    signs = re.findall(r'<a class="score score-(\w+)[^>]*href="#([^"]+)" title="([^"]+)"', board)
    assert [(kind, label) for kind, _, label in signs] == [
        ("yes", "Ẽ is E + (h/4)‖∇E‖²: holds"),
        ("no", "larger networks: does not hold"),
        ("part", "O(h^n+1): holds in part"),
        ("no", "two sets, digits: not reproduced"),
        ("part", "two sets, MNIST: reproduced in part"),
        ("yes", "P1, few: reproduced"),
        ("part", "P2, few: reproduced in part (at 0.01 only)"),
        ("open", "P1, many: cannot tell"),
        ("no", "P2, many: not reproduced"),
    ]
    lines = [target for _, target, _ in signs]
    assert [lines.index(target) for target in lines] == [0, 1, 2, 3, 3, 5, 6, 5, 6]
    for _, target, label in signs:
        (line,) = re.findall(rf'<tr[^>]*id="{target}".*?</tr>', html, re.S)
        assert label.rpartition(": ")[2] in line
    sections = re.findall(r'score-part-name[^>]*href="#([^"]+)"[^>]*>([^<]+)<', board)
    assert sections == [("theory", "Theory"), ("runs", "Runs")]
    told = " ".join(re.sub(r"<[^>]+>", "", board[board.index("score-legend") :]).split())
    assert "✓ holds: 1 ✓ reproduced: 1 ½ holds in part: 1" in told
    assert told.endswith("✗ not reproduced: 2 ? cannot tell: 1")
    grid = re.search(r"<table[^>]*score-grid.*?</table>", board, re.S)[0]
    cells = [
        re.sub(r"<[^>]+>", "", cell).split()
        for cell in re.findall(r"<t[hd].*?</t[hd]>", grid, re.S)
    ]
    assert [cell[0] if cell else "" for cell in cells] == [
        "",
        "P1",
        "P2",
        "few",
        "✓",
        "½",
        "many",
        "?",
        "✗",
    ]
    under = re.findall(
        r'href="#[^"]+" title="([^"]+)">.*?</a> <span class="score-condition">(.*?)<', grid
    )
    assert under == [("P2, few: reproduced in part (at 0.01 only)", "at 0.01 only")]
    assert re.findall(r'<td class="[^"]*claim-verdict[^"]*">', html)
    assert len(re.findall(r"<table[^>]*claims", html)) == 2


def test_verdicts_of_one_cell_without_names_are_warned_of(page):
    table = "| the paper | verdict |\n| --- | --- |\n| all | holds, cannot tell |\n"
    _, warned = page(f"```{{scoreboard}}\n```\n\n## Part\n\n{table}")
    assert "need names" in warned


def test_a_page_without_verdicts_is_warned_of(page):
    _, warned = page("```{scoreboard}\n```\n\n| rival | when |\n| --- | --- |\n| kinks | ReLU |\n")
    assert "index" in warned
    assert "no table of this page has verdicts" in warned


def test_in_a_book_of_one_page_a_scoreboard_is_of_its_own_chapter(page):
    other = "# Other\n\n## There\n\n| the paper | verdict |\n| --- | --- |\n| all | holds |\n"
    contents = "# Book\n\n```{toctree}\nother\nchapter\n```"
    chapter = "# Title\n" + PAGE
    alone = re.findall(r'class="score score-[^>]*title="([^"]+)"', page(PAGE)[0])
    html, warned = page(contents, "singlehtml", other=other, chapter=chapter)
    assert warned == ""
    assert re.findall(r'class="score score-[^>]*title="([^"]+)"', html) == alone
