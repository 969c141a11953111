"""The form of the chapters, read from the notebooks without running them."""

import operator
import re
import statistics
import symtable
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
NUMBERED = [
    ROOT / f"{chapter['file']}.ipynb"
    for part in TOC["parts"]
    if part.get("numbered")
    for chapter in part["chapters"]
    # A page of prose alone has neither exercises nor cells.
    if not (ROOT / f"{chapter['file']}.md").exists()
]

spec = spec_from_file_location("notebooks_tool", ROOT / "book" / "_tools" / "notebooks.py")
tool = module_from_spec(spec)
spec.loader.exec_module(tool)

OPEN = re.compile(r"^`{3,}\{(exercise|solution)-start\}[ ]*(\S*)(.*?)^`{3,}", re.M | re.S)
END = re.compile(r"^`{3,}\{(exercise|solution)-end\}", re.M)


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(chapter):
    return [cell for cell in chapter.cells if cell.cell_type == "code"]


def lines(cell):
    return len([line for line in cell.source.splitlines() if line.strip()])


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_is_executed_and_in_normal_form(path):
    assert tool.problems(path) == []


def test_code_cells_are_short(chapter):
    sizes = [lines(cell) for cell in code_cells(chapter)]
    assert max(sizes) <= 20
    assert statistics.median(sizes) <= 10


def printed(cell):
    """The lines that a page shows of what a cell prints and returns as text."""
    for output in cell.outputs:
        data = output.get("data", {})
        text = data.get("text/plain", "") if set(data) <= {"text/plain"} else ""
        yield from (output.get("text", "") or text).splitlines()


def test_printed_lines_are_as_narrow_as_code(chapter):
    width = tomllib.loads((ROOT / "book" / "ruff.toml").read_text())["line-length"]
    wide = [line for cell in code_cells(chapter) for line in printed(cell) if len(line) > width]
    assert wide == []


def test_every_cell_is_checked(chapter):
    for cell in code_cells(chapter):
        marks = cell.source + " " + " ".join(cell.metadata.get("tags", []))
        assert not re.search(r"nbval.(skip|ignore.output)", marks, re.I), cell.source


def shown(cell):
    """The figures of a cell, each a drawing or a picture, by its kind."""
    return [
        {kind: data[kind] for kind in data if kind.startswith("image/")}
        for data in (output.get("data", {}) for output in cell.outputs)
        if any(kind.startswith("image/") for kind in data)
    ]


def test_drawings_fit_into_the_column_and_their_text_is_read(chapter):
    """At most 6.9 inches wide; text of 11 pixels at least, and on a phone, where it may scroll."""
    for cell in code_cells(chapter):
        for figure in shown(cell):
            assert len(figure) == 1, "a drawing and its picture are stored"
            if drawn := figure.get("image/svg+xml"):
                root = dict(re.findall(r'([\w-]+)="([^"]*)"', drawn[: drawn.index(">")]))
                assert float(root["width"].removesuffix("pt")) <= 6.9 * 72 + 5
                sizes = [float(s) for s in re.findall(r"scale\((\d*\.\d+) -", drawn)]
                assert 100 * min(sizes) * 4 / 3 >= 11
                assert len(drawn) <= 150_000


def test_figures_have_caption_name_and_alternative_text(chapter):
    names = []
    for cell in code_cells(chapter):
        if shown(cell):
            settings = cell.metadata.get("mystnb", {})
            caption = settings.get("figure", {}).get("caption", "")
            # What the figure shows, as a sentence; the lists of the book have it.
            assert re.match(r"\*\*[^*]{10,80}\.\*\* \S", caption), cell.source
            assert settings.get("figure", {}).get("name"), cell.source
            assert len(settings.get("image", {}).get("alt", "")) >= 20, cell.source
            names.append(settings["figure"]["name"])
    assert len(names) == len(set(names))


# Quantities side by side, and runs that differ in what they train.
WITHOUT_MEANING = ["fig-geometry-rescaling", "fig-geometry-norm", "fig-ntk-spectrum"]
WITHOUT_MEANING += ["fig-ntk-fisher"]


def test_colours_with_a_meaning_are_left_to_what_they_mean():
    """Orange is descent, green the gradient flow, blue the modified flow, pink the regularizer."""
    drawn = {}
    for path in CHAPTERS:
        for cell in code_cells(nbformat.read(path, as_version=4)):
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            drawn[name] = cell.source
    for name in WITHOUT_MEANING:
        assert "plots.COLORS" not in drawn[name], name
        assert "plots.OTHER_COLORS" in drawn[name], name


def gates(chapter):
    """Labels of exercises, and for each solution's exercise the code cells inside it."""
    exercises, solutions, inside = [], {}, None
    for cell in chapter.cells:
        if cell.cell_type == "code":
            if inside:
                solutions[inside] += 1
            continue
        events = [*OPEN.finditer(cell.source), *END.finditer(cell.source)]
        for event in sorted(events, key=lambda match: match.start()):
            if event.re is END:
                inside = None if event[1] == "solution" else inside
            elif event[1] == "exercise":
                exercises += re.findall(r"^:label:\s*(\S+)", event[3], re.M)
            else:
                inside = event[2]
                solutions[inside] = 0
    return exercises, solutions


def test_exercises_have_solutions_that_run(chapter):
    exercises, solutions = gates(chapter)
    assert sorted(exercises) == sorted(solutions)
    assert all(solutions.values()), solutions


def prose_of(chapter):
    return "\n\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")


def headings(prose):
    return re.findall(r"^##\s+(.+?)\s*$", prose, re.M)


def test_ends_with_references(chapter):
    prose = prose_of(chapter)
    assert headings(prose)[-1] == "References"
    assert "{cite" in prose.rpartition("## References")[2]


BOX = re.compile(r"^(:{3,})\{(prediction|selfcheck)\}[^\n]*\n(.*?)^\1$", re.M | re.S)


def boxes(prose, kind):
    return [found[3] for found in BOX.finditer(prose) if found[2] == kind]


def predictions(prose):
    """For each prediction its options and the marks of its list, in order."""
    found = []
    for box in boxes(prose, "prediction"):
        settings = dict(re.findall(r"^:([\w-]+):[ ]*(.*)$", box, re.M))
        found.append((settings, re.findall(r"^- \[([ x])\] \S", box, re.M)))
    return found


def test_predictions_have_a_label_of_their_own_and_one_right_option():
    labels = []
    for path in CHAPTERS:
        for settings, marks in predictions(prose_of(nbformat.read(path, as_version=4))):
            labels.append(settings["label"])
            assert 2 <= len(marks) <= 5, settings
            assert marks.count("x") == 1, settings
    assert labels
    assert len(labels) == len(set(labels))


COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
COMPARED |= {"==": operator.eq, "!=": operator.ne}


def glued(chapter):
    """What a chapter's cells glue, as text without quotes."""
    found = {}
    for cell in code_cells(chapter):
        for output in cell.outputs:
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            data = output.get("data", {})
            if name:
                found[name] = next(v for k, v in data.items() if k.endswith("text/plain")).strip(
                    "'"
                )
    return found


NUMBER = re.compile(r"[−+-]?\d+(?:\.\d+)?")


def number(text):
    return float(NUMBER.match(text)[0].replace("−", "-"))


def holds(condition, values):
    """Whether what was glued under a name compares with a number, or a word, as is claimed."""
    name, comparison, other = condition.split()
    if NUMBER.fullmatch(other):
        return COMPARED[comparison](number(values[name]), number(other))
    return COMPARED[comparison](values[name], other)


def test_the_marked_option_is_what_the_cells_computed(chapter):
    values = glued(chapter)
    for settings, _ in predictions(prose_of(chapter)):
        for condition in filter(None, settings.get("holds-if", "").split(" and ")):
            assert holds(condition, values), condition


def test_a_condition_can_fail():
    values = {"share": "93 %", "change": "−2.5 points", "word": "smaller"}
    assert holds("share > 90", values)
    assert not holds("share > 95", values)
    assert holds("change < 0", values)
    assert not holds("change >= 0", values)
    assert holds("word == smaller", values)
    assert not holds("word == larger", values)


def test_what_a_prediction_hides_is_a_figure_below_it(chapter):
    names = [
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for cell in chapter.cells
    ]
    for number, cell in enumerate(chapter.cells):
        for settings, _ in predictions(cell.source if cell.cell_type == "markdown" else ""):
            assert settings.get("hides") in (None, *names[number + 1 :])
            if "until" in settings:
                below = chapter.cells[names.index(settings["hides"]) + 1 :]
                target = f"({settings['until']})="
                assert any(target in part.source for part in below if part.cell_type == "markdown")


WITHOUT_SELFCHECK = ("What we found", "Exercises", "Where to go next", "References")


@pytest.mark.parametrize("path", NUMBERED[:6], ids=lambda path: path.stem)
def test_every_section_of_the_theory_has_a_self_check(path):
    prose = prose_of(nbformat.read(path, as_version=4))
    sections = re.split(r"^## (.+)$", prose, flags=re.M)
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        if heading.strip() not in WITHOUT_SELFCHECK:
            checks = boxes(text, "selfcheck")
            assert checks, heading
            assert all("\n\n" in check.strip() for check in checks), heading


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_has_the_parts_that_readers_are_told_of(path):
    """As *How to read this book* and *How to extend* say."""
    chapter = nbformat.read(path, as_version=4)
    assert len(gates(chapter)[0]) >= 4
    prose = prose_of(chapter)
    parts = ["What we found", "Exercises", "Where to go next", "References"]
    assert [heading for heading in headings(prose) if heading in parts] == parts
    assert predictions(prose)
    assert re.search(r"\bby hand\b", prose, re.I)
    titles = re.findall(r"^```\{exercise-start\} (.+)$", prose, re.M)
    assert titles[0].startswith("Check your reading: ")
    assert titles[-1].startswith("Open question: ")


def test_no_path_of_one_machine(chapter):
    absolute = re.compile(r"""["'](/|~/|[A-Za-z]:\\)|/(home|Users|root|tmp|work|opt)/""")
    for cell in code_cells(chapter):
        assert not absolute.search(cell.source), cell.source
        for output in cell.outputs:
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not absolute.search(text), text
            assert not re.search(r" at 0x[0-9a-f]+", text), text


EVIDENCE = {
    "what is regularized is the squared slope": ["rem-geometry-a7"],
    "driven to flat minima": ["thm-geometry-independent"],
    "$\\det g = 1+m\\RIG$": ["rem-geometry-a8"],
    "zero where the surface looks Euclidean": ["thm-geometry-plane"],
    "the norm grows by at most": ["thm-geometry-norm"],
    "the entries of $K$ shrink": ["thm-ntk-push", "thm-ntk-linear", "fig-ntk-matched"],
}


@pytest.mark.parametrize("claim", EVIDENCE)
def test_verdicts_on_the_appendices_name_the_page_that_decides_them(claim):
    prose = prose_of(nbformat.read(ROOT / "book" / "what_held.ipynb", as_version=4))
    (row,) = [line for line in prose.splitlines() if line.startswith("|") and claim in line]
    assert re.findall(r"`([a-z0-9-]+)`", row.split("|")[4]) == EVIDENCE[claim]


# What the first page says was found, and what the chapters have glued where that is so.
FIRST_PAGE = {
    "with batches of 32, larger learning rates went with smaller gradients at equal loss,": {
        "held-cpu-sgd-1": "reproduced",
        "held-long-sgd-1": "reproduced",
    },
    "with flatter minima and": {"held-cpu-sgd-2": "reproduced", "held-long-sgd-2": "reproduced"},
    "with higher test accuracy.": {"held-cpu-sgd-3": "reproduced", "held-long-sgd-3": "reproduced"},
    "With full batches, in one network on 1,000 images, accuracy rose too,": {
        "held-cpu-gd-3": "reproduced"
    },
    "the gradients were smaller at some losses only,": {
        "held-cpu-gd-1": "reproduced",
        "held-gd-again": "not reproduced",
    },
    "and on flatter ends the verdict is *cannot tell* (": {"held-cpu-gd-2": "cannot tell"},
    "Every one of these trends may have another cause that our recorded runs do not exclude": {
        f"held-reading-cpu-{arm}-{k}": reading
        for arm, readings in {
            "sgd": ["association, cause open"] * 3,
            "gd": ["association, cause open", "none", "association, cause open"],
        }.items()
        for k, reading in enumerate(readings, 1)
    },
    "Nor is it shown that flat minima generalize better.": {"held-flat": r"cannot tell in \d\d,.*"},
    "With full batches the sharpness of the end follows the edge of stability.": {
        "held-ladder-full-2": "edge"
    },
    "With batches of 32 a penalty on their gradients brings back most of the flatness,": {
        "held-ladder-batches-2": "between",
        "edge-batches-share": r"0\.[5-9]\d? to 0\.\d+",
    },
    "with no edge near where we compare (": {"edge-batches-stand": r"0\.\d+ to 0\.[0-4]\d*"},
}


# The same of *For your learning rate*.
LEARNING_RATE = {
    "The term changes $\\norm g^2$ at equal loss by little": {"held-c": "thousandth"},
    "On MNIST larger steps were often more accurate too.": {
        "held-cpu-sgd-3": "reproduced",
        "held-cpu-gd-3": "reproduced",
    },
    "It costs two to three gradients a step.": {"recipes-cost": r"2\.\d+"},
    "With batches of 32 it brought back most of the flattening.": {
        "edge-batches-share": r"0\.[5-9]\d? to 0\.\d+"
    },
    "With full batches it brought back less, the smaller the step, as its own edge predicts:": {
        "held-ladder-full-2": "edge"
    },
}
SAID = [("index.md", words, claims) for words, claims in FIRST_PAGE.items()]
SAID += [("book/on_a_page.md", words, claims) for words, claims in LEARNING_RATE.items()]
WHEN_NOT = "we could not tell that the penalty gained accuracy over the best plain rate"
BOOSTS = dict.fromkeys(("held-boost-digits", "held-boost-cifar"), "cannot tell")
SAID += [("book/recipes.ipynb", WHEN_NOT, BOOSTS)]


@pytest.mark.parametrize(("page", "words", "claims"), SAID, ids=[words for _, words, _ in SAID])
def test_a_page_says_what_the_verdicts_of_others_say(page, words, claims):
    assert words in " ".join((ROOT / page).read_text(encoding="utf-8").split())
    stored = {}
    for name in ("what_held", "edge", "recipes"):
        stored |= glued(nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4))
    for name, claimed in claims.items():
        assert re.fullmatch(claimed, stored[name]), (name, stored[name])


def macros_missing(notation):
    """The macros of the book that the notation page does not use."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    macros = config["sphinx"]["config"]["formula_macros"]
    assert len(macros) > 10
    return [name for name in macros if not re.search(rf"\\{name}(?![A-Za-z])", notation)]


def test_notation_has_every_macro():
    page = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    assert macros_missing(table) == []
    assert macros_missing(table.replace(r"\T", "")) == ["T"]


def glossary():
    page = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", page, re.M | re.S)
    return dict(entry.split("\n", 1) for entry in re.split(r"\n\n(?=\S)", listed.strip()))


def test_glossary_is_sorted_and_says_where():
    words = glossary()
    assert list(words) == sorted(words, key=str.casefold)
    for word, said in words.items():
        assert re.search(r"\{(ref|prf:ref|eq|numref)\}`[\w-]+`$", said.strip()), word


HOUSE = (
    "arm",
    "asymptotic",
    "block",
    "censored",
    "edge of stability",
    "formal power series",
    "isometric",
    "matched point",
    "physical time",
    "profile",
    "pytree",
    "unit",
)


def test_glossary_has_the_words_of_the_house():
    assert set(HOUSE) <= set(glossary())


# What a recipe takes from another part of its page, beside the cells of the top and those of the
# heading above it.
TAKEN = {"sec-recipes-edge": {"sec-recipes-linen"}, "sec-recipes-haiku": {"sec-recipes-linen"}}
SHARED = ("app-recipes", "sec-recipes-four", "sec-recipes-small")


def names_of(source):
    """The names that a cell binds, and those that it reads, those of its functions included."""
    table = symtable.symtable(source, "cell", "exec")
    inner, below = [], table.get_children()
    while below:
        inner += below
        below = [child for one in below for child in one.get_children()]
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    return bound, read | {s.get_name() for one in inner for s in one.get_symbols() if s.is_global()}


def borrowed(page):
    """Of each label of the page the labels whose names its cells read."""
    at, where, found = None, {}, {}
    for cell in page.cells:
        if cell.cell_type == "markdown":
            at = [at, *re.findall(r"^\(([\w-]+)\)=$", cell.source, re.M)][-1]
            continue
        bound, read = names_of(cell.source)
        # What a cell both reads and binds, it binds first, as a loop does; `ruff` sees to the rest.
        found.setdefault(at, set()).update(where[name] for name in read & where.keys() - bound)
        where |= dict.fromkeys(bound, at)
    return {label: others - {label} for label, others in found.items()}


def test_a_recipe_can_be_read_alone():
    """A reader who copies one recipe and the cells that it names has all that it uses."""
    page = nbformat.read(ROOT / "book" / "recipes.ipynb", as_version=4)
    found, above = borrowed(page), {"app-recipes"}
    assert len(found) > 10
    for label, others in found.items():
        if label in SHARED:
            above = {"app-recipes", label}
        assert others <= above | TAKEN.get(label, set()), label
    text = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    for label, others in TAKEN.items():
        section = text.split(f"({label})=")[1].split(")=\n")[0]
        assert all(f"<{other}>" in section for other in others), label
