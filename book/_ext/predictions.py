"""The directives `prediction` and `selfcheck`: choose, then see; ask, then unfold.

A prediction is a question, a list of options and an answer:

    :::{prediction} (a)
    :label: theorem-one-step
    By which factor does the gap shrink when $h$ is halved?

    - [ ] 2
    - [x] 4

    It is of order $h^2$: see {prf:ref}`thm-main`.
    :::

The page itself holds a plain list and a closed `<details>`. With scripts, `prediction.js` makes
radio buttons of the list, opens the answer when one is chosen and remembers the choice. `:hides:`
names a figure that stays blurred until then. `:until:` names a target below that figure: what
stands between the two, such as the numbers under the figure, is blurred as well. `:holds-if:` names
a glued number and what it must be for the marked option to be right; `tests/test_book_form.py`
holds the notebook to it.

A self-check is a question, in the first paragraph, and its answer, in those that follow.
"""

import re

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

SCRIPT = "prediction.js"
SETTINGS = ("label", "page", "hides", "until")
MARK = re.compile(r"\[([ x])\]\s*")
LETTERS = "ABCDE"
ALLOWED = range(2, len(LETTERS) + 1)


class Prediction(nodes.General, nodes.Element):
    """A question, its options and its answer."""


class Options(nodes.General, nodes.Element):
    """The options, in order; `right` is the letter of the right one."""


class Option(nodes.General, nodes.TextElement):
    """One line to choose."""


class Answer(nodes.General, nodes.Element):
    """What is folded away."""


class SelfCheck(nodes.General, nodes.Element):
    """A question and its folded answer."""


class PredictionDirective(SphinxDirective):
    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012
        "label": directives.unchanged_required,
        "hides": directives.unchanged_required,
        "until": directives.unchanged_required,
        "holds-if": directives.unchanged_required,
    }

    def run(self):
        if "label" not in self.options:
            raise self.error("a prediction needs a `:label:`, by which the choice is remembered")
        if "until" in self.options and "hides" not in self.options:
            raise self.error("`:until:` needs `:hides:`, the figure from which on to hide")
        children = parsed(self)
        lists = [k for k, node in enumerate(children) if isinstance(node, nodes.bullet_list)]
        if not lists or lists[0] == 0:
            raise self.error("a prediction needs a question and, below it, a list of options")
        question, answer = children[: lists[0]], children[lists[0] + 1 :]
        if not answer:
            raise self.error("a prediction needs an answer, below the list of options")
        box = Prediction(
            ids=[f"prediction-{self.options['label']}"],
            label=self.options["label"],
            page=self.env.docname,
            hides=self.options.get("hides", ""),
            until=self.options.get("until", ""),
            title=" ".join(["Prediction", *self.arguments]),
        )
        box += [*question, self.choices(children[lists[0]]), Answer("", *answer)]
        return [box]

    def choices(self, listed):
        marks = [marked(item) for item in listed]
        if None in marks or len(marks) not in ALLOWED or marks.count("x") != 1:
            raise self.error(
                f"a prediction needs {ALLOWED[0]} to {ALLOWED[-1]} options of one line, each "
                f"beginning with `[ ]` and the right one with `[x]`; got the marks {marks}"
            )
        lines = [Option("", "", *item[0].children) for item in listed]
        return Options("", *lines, right=LETTERS[marks.index("x")])


class SelfCheckDirective(SphinxDirective):
    has_content = True

    def run(self):
        question, *answer = parsed(self)
        if not answer:
            raise self.error("a self-check needs a question, a blank line and an answer")
        question[:0] = [nodes.strong("", "Self-check."), nodes.Text(" ")]
        return [SelfCheck("", question, Answer("", *answer))]


def parsed(directive):
    directive.assert_has_content()
    parent = nodes.Element()
    directive.state.nested_parse(directive.content, directive.content_offset, parent)
    return list(parent.children)


def marked(item):
    """The mark of an option, which is taken off its line; None where there is no mark or line."""
    if [type(child) for child in item] != [nodes.paragraph]:
        return None
    text = next(iter(item.findall(nodes.Text)), None)
    found = text and MARK.match(text.astext())
    if not found:
        return None
    text.parent.replace(text, nodes.Text(text.astext()[found.end() :]))
    return found[1]


def visit_prediction(writer, node):
    data = {f"data-{name}": node[name] for name in SETTINGS if node[name]}
    title = writer.encode(node["title"])
    writer.body.append(
        writer.starttag(
            node, "section", CLASS="igr-prediction", role="group", **{"aria-label": title}, **data
        )
    )
    writer.body.append(f'<p class="igr-prediction-title">{title}</p>\n')


def depart_prediction(writer, node):
    writer.body.append("</section>\n")


def visit_options(writer, node):
    attributes = {"CLASS": "igr-options", "type": "A", "data-right": node["right"]}
    writer.body.append(writer.starttag(node, "ol", **attributes))


def depart_options(writer, node):
    writer.body.append("</ol>\n")


def visit_option(writer, node):
    writer.body.append("<li>")


def depart_option(writer, node):
    writer.body.append("</li>\n")


def visit_answer(writer, node):
    writer.body.append('<details class="igr-answer"><summary>Answer</summary>\n')
    if isinstance(node.parent, Prediction):
        right = next(iter(node.parent.findall(Options)))["right"]
        writer.body.append(f'<p class="igr-right">The answer is {right}.</p>\n')


def depart_answer(writer, node):
    writer.body.append("</details>\n")


def visit_selfcheck(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="igr-selfcheck"))


def depart_selfcheck(writer, node):
    writer.body.append("</div>\n")


def load_script(app, page, template, context, doctree):
    if doctree is not None and next(iter(doctree.findall(Prediction)), None) is not None:
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app):
    for node, visit, depart in (
        (Prediction, visit_prediction, depart_prediction),
        (Options, visit_options, depart_options),
        (Option, visit_option, depart_option),
        (Answer, visit_answer, depart_answer),
        (SelfCheck, visit_selfcheck, depart_selfcheck),
    ):
        app.add_node(node, html=(visit, depart))
    app.add_directive("prediction", PredictionDirective)
    app.add_directive("selfcheck", SelfCheckDirective)
    app.connect("html-page-context", load_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
