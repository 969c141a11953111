"""In each chapter, the first use of a name of `igrlib` or `explorers` leads to its reference,
and the first use of a word of the book's own to the glossary.

A chapter says `ig.flow` where the reference says `igrlib.flows.flow`: the names it imported are
read off its cells, and what they stand for is looked up in the package.
"""

import html
import importlib
import re

from docutils import nodes

PACKAGES = ("igrlib", "explorers")
IMPORT = re.compile(rf"^(?:from ((?:{'|'.join(PACKAGES)})[\w.]*) )?import (.+)$", re.M)
CALLED = re.compile(r"^(\w+(?:\.\w+)*)(?:\([^)]*\))?$")
# A dotted name as it stands in highlighted code, names and dots each in their element.
WORD = r'<span class="n[a-z]*">(\w+)</span>'
BLOCK = re.compile(r'<div class="highlight-i?python3?.*?</pre>', re.S)
DOTTED = re.compile(rf'{WORD}(?:<span class="o">\.</span>{WORD})*')


# Words that are explained in the glossary and hardly used in another sense; those of experiments
# are meant in the pages on experiments alone.
WORDS = (
    *("asymptotic", "batch sharpness", "catapult", "censored", "central flow", "cotangent"),
    *("edge of stability", "formal power series", "isometric", "matched loss", "matched point"),
    *("permutation test", "physical time", "progressive sharpening", "pytree", "rod flow"),
)
EXPERIMENTS = ("arm", "block", "profile")
ABOUT_EXPERIMENTS = tuple(
    f"book/{name}" for name in ("mnist", "resnet", "explicit", "edge", "optimizers", "what_held")
)


def words_of(page):
    return WORDS + EXPERIMENTS if page in ABOUT_EXPERIMENTS else WORDS


def first_words(doctree, words):
    """For each word the first text of a paragraph that uses it, and where in this text."""
    found = {}
    for text in doctree.findall(nodes.Text):
        if isinstance(text.parent, (nodes.paragraph, nodes.emphasis)):
            for word in words:
                place = re.search(rf"(?<![\w-]){word}s?(?![\w-])", text.astext())
                if place and word not in found:
                    found[word] = text, place.span()
    return found


def link_words(app, doctree, page):
    """The first use of a word becomes a reference to the glossary."""
    if not page.startswith("book/") or page == "book/glossary":
        return
    terms = app.env.get_domain("std").objects
    by_text = {}
    for word, (text, span) in first_words(doctree, words_of(page)).items():
        if ("term", word) in terms:
            by_text.setdefault(text, []).append((span, terms["term", word]))
    for text, uses in by_text.items():
        said, pieces, done = text.astext(), [], 0
        for (start, end), (where, anchor) in sorted(uses):
            if start < done:
                continue
            uri = f"{app.builder.get_relative_uri(page, where)}#{anchor}"
            reference = nodes.reference("", said[start:end], internal=True, refuri=uri)
            reference["classes"].append("igr-word")
            reference["reftitle"] = "in the glossary"
            pieces += [nodes.Text(said[done:start]), reference]
            done = end
        text.parent.replace(text, [*pieces, nodes.Text(said[done:])])


def documented(app):
    """Where each function, class and constant is told of: its full name to page and anchor."""
    objects = app.env.get_domain("py").get_objects()
    return {name: (page, anchor) for name, _, _, page, anchor, _ in objects}


def imported(doctree):
    """What the names that a page's code imports stand for, as dotted names of a package."""
    aliases = {"igrlib": "igrlib"}
    for block in doctree.findall(nodes.literal_block):
        for origin, what in IMPORT.findall(block.astext()):
            for part in re.sub(r"[()]", "", what).split(","):
                name, _, alias = part.strip().partition(" as ")
                if origin or name.split(".")[0] in PACKAGES:
                    aliases[alias or name] = f"{origin}.{name}" if origin else name
    return aliases


def full_name(dotted, aliases):
    """The name under which `dotted` was defined, or None where it is not one of the package."""
    first, *rest = dotted.split(".")
    path = aliases.get(first)
    if path is None:
        return None
    path = ".".join([path, *rest])
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):  # the last for the package itself
        return None
    return f"{getattr(found, '__module__', module)}.{name}", path


def target(dotted, aliases, known):
    names = full_name(dotted, aliases) or ()
    return next((known[name] for name in names if name in known), None)


def link(app, doctree, page):
    """Prose, first: the literal becomes a reference."""
    if "/api/" in page:
        return
    known, aliases, seen = documented(app), imported(doctree), set()
    for literal in list(doctree.findall(nodes.literal)):
        called = CALLED.match(literal.astext())
        if not called or isinstance(literal.parent, nodes.reference):
            continue
        place = target(called[1], aliases, known)
        if place is None or place in seen:
            continue
        seen.add(place)
        uri = f"{app.builder.get_relative_uri(page, place[0])}#{place[1]}"
        reference = nodes.reference("", "", internal=True, refuri=uri)
        literal.replace_self(reference)
        reference += literal
    app.env.metadata[page]["igrlib_aliases"] = aliases


def link_code(app, page, template, context, doctree):
    """And code: the first use of a name inside of the cells."""
    aliases = app.env.metadata.get(page, {}).get("igrlib_aliases")
    # On one page the addresses of other pages would have to be rewritten, as Sphinx does for prose.
    if not aliases or "body" not in context or app.builder.name == "singlehtml":
        return
    known, seen = documented(app), set()

    def linked(match):
        dotted = re.sub(r"<[^>]+>", "", match[0])
        place = target(dotted, aliases, known) if "." in dotted or dotted in aliases else None
        if place is None or place in seen:
            return match[0]
        seen.add(place)
        uri = f"{app.builder.get_relative_uri(page, place[0])}#{place[1]}"
        title = html.escape(f"{dotted} in the reference", quote=True)
        return f'<a class="igrlib-name" href="{uri}" title="{title}">{match[0]}</a>'

    context["body"] = BLOCK.sub(lambda m: DOTTED.sub(linked, m[0]), context["body"])


def setup(app):
    app.connect("doctree-resolved", link)
    app.connect("doctree-resolved", link_words)
    app.connect("html-page-context", link_code)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
