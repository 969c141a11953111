"""Formulas typeset while a book is built: of small books, what is drawn, said, kept and refused."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXTENSIONS = Path(__file__).resolve().parent.parent / "book" / "_ext"
CONFIG = f"""
import sys
sys.path.insert(0, {str(EXTENSIONS)!r})
extensions = ["myst_parser", "formulas"]
myst_enable_extensions = ["amsmath", "dollarmath"]
formula_macros = {{"RIG": "R_{{IG}}", "norm": [r"\\lVert #1 \\rVert", 1]}}
html_theme = "basic"
"""


def build(folder, text):
    """The page of a book of one page, and what was said while it was built."""
    (folder / "conf.py").write_text(CONFIG)
    (folder / "index.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", folder, folder / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    page = folder / "out" / "index.html"
    return done, page.read_text("utf-8") if page.exists() else ""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    text = r"""# Title with $\RIG$

A macro ($\norm{x}^2$), then $y$.
So $z$'s value, $n$-fold, ends here $w$ .

$$
a &= b \\
  &= c
$$ (numbered)

See {eq}`numbered`.

| table |
| --- |
| $\operatorname{tr} A$ |

Long: $f(x + y) = a + b + c + d + e + f + g + h + i + j \le k$, and on.

Nested: $(a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p)$.

Said: $x < \text{if } \alpha$.

\begin{align} p &= q \\ r &= s \end{align}
"""
    folder = tmp_path_factory.mktemp("book")
    done, html = build(folder, text)
    assert done.returncode == 0, done.stderr
    return html


def said(markup):
    return [re.sub(r"<[^>]+>", "", m) for m in re.findall(r"<math.*?</math>", markup)]


def plain(markup):
    """The text that is seen: without what is read out, with a formula as a box."""
    shown = re.sub(r'<span class="formula-spoken">.*?</span>', "", markup)
    return re.sub(r"<svg.*?</svg>", "□", shown)


def test_everything_is_drawn_and_said(page):
    body = page[page.index("<h1") :]
    assert said(body)[:4] == ["RIG", "‖x‖2", "y", "z"]
    assert "x&lt;if\u00a0α" in said(body)
    assert r"\norm" not in body
    assert "trA" in said(body[body.index("<table") : body.index("</table")])


def test_what_stands_at_a_formula_is_kept_with_it(page):
    kept = re.findall(r'<span class="formula-kept">(.*?)</span></span>', plain(page))
    assert kept[:4] == ["(□),", "□.", "□’s", "□-fold"]
    assert re.search(r"ends here <span class=\"formula\">□</span> \.", plain(page))


def test_equations_have_their_numbers(page):
    assert re.search(r'id="equation-numbered">\s*<span class="eqno">\(1\)', page)
    assert re.search(r'href="#equation-numbered">\(1\)</a>', page)
    assert page.count('<div class="formula-display">') == 2


def widths(markup):
    return [float(width) for width in re.findall(r'<svg width="([\d.]+)ex"', markup)]


def test_a_long_formula_may_break_after_its_relations_and_operators(page, tmp_path):
    (line,) = re.findall(r"<p>Long:.*?</p>", page, re.S)
    # Eleven: after =, nine signs and ≤, and not inside of the brackets.
    assert len(widths(line)) == 12
    # In braces the same is one piece.
    _, alone = build(tmp_path, r"${f(x + y) = a + b + c + d + e + f + g + h + i + j \le k}$")
    assert len(widths(alone)) == 1
    assert sum(widths(line)) == pytest.approx(sum(widths(alone)), abs=0.1)
    assert re.search(r'<span class="formula-kept"><svg[^§]{1,2000}</svg>,</span>', line)


def test_brackets_too_wide_for_a_phone_break_inside(page):
    (line,) = re.findall(r"<p>Nested:.*?</p>", page, re.S)
    assert len(widths(line)) == 16


def test_every_glyph_is_on_the_page_once(page):
    drawn = re.findall(r'<path id="(g-[^"]+)"', page)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == set(re.findall(r'<use href="#([^"]+)"', page))


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        (r"$\nowhere x$", "Undefined control sequence \\nowhere in the formula \\nowhere x"),
        (r"$\frac{1}$", "Missing argument for \\frac"),
        ("$$a \\tag{3}$$", "give the formula a label"),
        (r"$x^{2$", "Extra open brace or missing close brace"),
    ],
)
def test_a_formula_that_cannot_be_typeset_fails_the_build(tmp_path, formula, reason):
    done, page = build(tmp_path, f"# Title\n\nText\n\n{formula}\n\nThen $y$.\n")
    assert done.returncode == 1
    assert done.stderr.count("WARNING") == 1
    assert re.search(rf"index\.md:5: WARNING: .*{re.escape(reason)}", done.stderr)
    assert "formula-wrong" in page
    assert "y" in said(page)


def test_node_and_mathjax_come_with_the_locked_packages():
    spec = importlib.util.spec_from_file_location("formulas", EXTENSIONS / "formulas.py")
    formulas = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(formulas)
    assert formulas.node_program().is_file()
    assert (formulas.mathjax() / "node-main.js").is_file()
