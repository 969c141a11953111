"""What search engines and previews of links are told: a description, a picture, the licence.

The address of the published pages follows from the repository's (GitHub Pages). Where neither is
set, pages do not say their own address, and that of the picture is relative to them: previews of
links want a whole one, but a copy without an address has none, and is not linked to.
"""

import html
import re
import sys
from pathlib import Path

from docutils import nodes

PICTURE, SIZE = "preview.png", (1200, 630)
SENTENCE = "Big steps change what you minimise."
ALT = (
    "A winding river of minima. Steps of gradient descent leave the gradient flow, follow the flow"
    " of a modified loss and end at a flatter minimum."
)
LICENCE = "https://www.apache.org/licenses/LICENSE-2.0"
LONGEST = 200
GITHUB = re.compile(r"https://github\.com/([^/]+)/([^/]+?)/?$")

# The formulas of first paragraphs and of claims, as text.
AS_TEXT = [
    (r"\^\{([^{}]*)\}", r"^\1"),
    (r"\\frac\s*([\w])\s*([\w])", r"(\1/\2)"),
    (r"\\norm\{([^{}]*)\}", r"‖\1‖"),
    (r"\\bigO\{([^{}]*)\}", r"O(\1)"),
    (r"\\(?:Etilde|widetilde\{E\})", "Ẽ"),
    (r"\\RIG", "R_IG"),
    (r"(?:\\grad|\\nabla)\s*", "∇"),
    (r"\\lambda", "λ"),
    (r"\\theta", "θ"),
    (r"\\mu", "μ"),
    (r"\\varepsilon", "ε"),
    (r"\\(?:mathrm|text)\{([^{}]*)\}", r"\1"),
    (r"\\sqrt\{([^{}]*)\}", r"√(\1)"),
    (r"\\cdot\s*", "·"),
    (r"\^?\\T", "ᵀ"),
    (r"\\det", "det"),
    (r"\\ln", "ln "),
    (r"\\max", "max"),
    (r"\\approx", "≈"),
    (r"\\to", "→"),
    (r"\^2", "²"),
    (r"\\[,;!]|~", " "),
    (r"[{}]", ""),
]


def as_text(formula):
    for pattern, text in AS_TEXT:
        formula = re.sub(pattern, text, formula)
    return formula


def plain(node):
    """The text of a paragraph, its formulas as they would be typed."""
    if isinstance(node, nodes.math):
        return as_text(node.astext())
    if isinstance(node, nodes.Text):
        return node.astext()
    return "".join(map(plain, node.children))


def description(doctree):
    """The first sentences of the first paragraph of prose that has one, or ''."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(plain(paragraph).split())
        if isinstance(paragraph.parent, nodes.section) and len(text) >= 40:
            return shortened(text)
        if "igr-lead" in paragraph.parent.get("classes", []):
            return shortened(text)
    return ""


def shortened(text):
    """Whole sentences of at most `LONGEST` characters, or the first one's beginning."""
    if len(text) <= LONGEST:
        return text.rstrip(":")
    end = max(text.rfind(mark, 0, LONGEST) for mark in (". ", "? ", "! "))
    return text[: end + 1] if end > 0 else text[: text.rfind(" ", 0, LONGEST - 1)] + "…"


def point_to_pages(app, config):
    on_github = GITHUB.match(config.html_theme_options.get("repository_url") or "")
    if on_github and not config.html_baseurl:
        config.html_baseurl = f"https://{on_github[1]}.github.io/{on_github[2]}/"


def tell(app, page, template, context, doctree):
    if app.builder.name != "html":
        return
    local = context["pathto"](f"_static/{PICTURE}", 1)
    base = app.config.html_baseurl
    title = re.sub("<[^>]+>", "", context.get("title", "")) or app.config.html_title
    site = app.config.html_title
    told = description(doctree) if doctree is not None else ""
    told = told or f"{title}: a page of {site}, a textbook that runs."
    tags = {
        "og:type": "website" if page == app.config.root_doc else "article",
        "og:site_name": site,
        "og:title": html.unescape(title),
        "og:description": told,
        "og:url": context.get("pageurl") or "",
        "og:image": f"{base}_static/{PICTURE}" if base else local,
        "og:image:width": str(SIZE[0]),
        "og:image:height": str(SIZE[1]),
        "og:image:alt": ALT,
    }
    named = {"description": told, "twitter:card": "summary_large_image"}
    if doctree is None:  # a page that Sphinx made: an index, the search
        named |= {"robots": "noindex"}
    lines = [f'<link rel="license" href="{LICENCE}" />']
    for kind, pairs in (("name", named), ("property", tags)):
        lines += [
            f'<meta {kind}="{key}" content="{html.escape(value)}" />'
            for key, value in pairs.items()
            if value
        ]
    context["metatags"] = context.get("metatags", "") + "\n    " + "\n    ".join(lines)


def draw(app, exception):
    """The picture of previews: the river, three ways down, the sentence."""
    if exception is not None or app.builder.name != "html":
        return
    sys.path.append(str(Path(__file__).parents[1]))
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke

    from explorers.river import BANKS, river
    from igrlib.plots import COLORS

    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    x = np.linspace(-3.9, 6.1, 300)
    for bank in BANKS:
        ax.fill_between(x, np.sin(x) - bank, np.sin(x) + bank, color="black", alpha=0.035, lw=0)
    ax.plot(x, np.sin(x), color=COLORS["minima"], lw=4)
    paths = river()
    ax.plot(*paths.flow.T, color=COLORS["gradient flow"], lw=5)
    ax.plot(*paths.modified.T, color=COLORS["modified flow"], lw=5)
    ax.plot(*paths.descent.T, "o", color=COLORS["gradient descent"], ms=13)
    ax.plot(*paths.flow[0], "o", color="black", ms=17)
    ax.plot(*paths.flow[-1], "o", color=COLORS["gradient flow"], ms=17)
    text = {"family": "STIXGeneral", "color": "black"}
    ax.text(-3.65, 1.98, SENTENCE, size=46, weight="bold", **text)
    ax.text(-3.65, 1.52, "Implicit Gradient Regularization: a textbook that runs", size=27, **text)
    labels = {"size": 25, "weight": "bold", "family": "STIXGeneral", "va": "center"}
    labels["path_effects"] = [withStroke(linewidth=6, foreground="white")]
    ax.text(0.22, 0.42, "gradient flow", color=COLORS["gradient flow"], ha="right", **labels)
    ax.text(1.32, 0.78, "steps of size h", color=COLORS["gradient descent"], **labels)
    ax.text(1.32, 0.36, "flow of E + (h/4)∥∇E∥²", color=COLORS["modified flow"], **labels)
    ax.set(xlim=(-3.9, 6.1), ylim=(-2.75, -2.75 + 10 * SIZE[1] / SIZE[0]))
    ax.axis("off")
    figure.savefig(Path(app.outdir, "_static", PICTURE), pil_kwargs={"optimize": True})


def setup(app):
    app.connect("config-inited", point_to_pages)
    app.connect("html-page-context", tell)
    app.connect("build-finished", draw)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
