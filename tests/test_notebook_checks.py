"""The comparison of notebooks catches what it should: book/conftest.py and notebooks.py."""

import base64
import io
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nbformat
import nbformat.v4 as nbf
import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from myst_nb.core.execute import direct
from PIL import Image

BOOK = Path(__file__).resolve().parent.parent / "book"
CELL = "print('slope 2.718281828 after 1000 steps, noise', 3e-17)\n0.5 * 25000"
PRINTED = "slope 2.718281828 after 1000 steps, noise 3e-17\n"
VALUE = "12500.0"


def load(path):
    spec = spec_from_file_location(path.stem + "_of_book", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


comparison = load(BOOK / "conftest.py")
tool = load(BOOK / "_tools" / "notebooks.py")


def notebook(printed=PRINTED, value=VALUE, count=1):
    outputs = [
        nbf.new_output("stream", name="stdout", text=printed),
        nbf.new_output("execute_result", {"text/plain": value}, execution_count=count),
    ]
    if count is None:
        outputs = []
    return tool.normalise(
        nbf.new_notebook(cells=[nbf.new_code_cell(CELL, outputs=outputs, execution_count=count)])
    )


def drawn(kind):
    """A cell that displays one drawing, stored with another, or with a picture in its place."""
    source = "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')"
    stored = {"text/plain": "<IPython.core.display.SVG object>", kind: "<svg><g/></svg>"}
    if kind == "image/png":
        stored[kind] = base64.b64encode(png(Image.new("P", (2, 2)))).decode()
    output = nbf.new_output("execute_result", stored, execution_count=1)
    cell = nbf.new_code_cell(source, outputs=[output], execution_count=1)
    return tool.normalise(nbf.new_notebook(cells=[cell]))


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


VARIANTS = {
    "another_drawing": (drawn("image/svg+xml"), True),
    "a_picture_in_its_place": (drawn("image/png"), True),
    "as_it_is": (notebook(), True),
    "decimal_by_0.1_percent": (notebook(PRINTED.replace("2.718281828", "2.721")), True),
    "decimal_by_1_percent": (notebook(PRINTED.replace("2.718281828", "2.745464646")), False),
    "value_by_0.1_percent": (notebook(value="12512.5"), True),
    "value_by_1_percent": (notebook(value="12625.0"), False),
    "noise_around_zero": (notebook(PRINTED.replace("3e-17", "-1e-17")), True),
    "integer": (notebook(PRINTED.replace("1000", "1001")), False),
    "word": (notebook(PRINTED.replace("slope", "angle")), False),
    "output_missing": (notebook(PRINTED.replace(", noise 3e-17", "")), False),
    "never_executed": (notebook(count=None), False),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Run nbval once over all variants: name -> did every cell pass?"""
    folder = tmp_path_factory.mktemp("book")
    shutil.copy(BOOK / "conftest.py", folder)
    for name, (variant, _) in VARIANTS.items():
        (folder / f"{name}.ipynb").write_text(tool.dumps(variant))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]
    command += ["--nbval", "--nbval-current-env", "--junitxml=report.xml", "."]
    subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=300)
    return {
        case.get("classname").removesuffix(".ipynb"): not case.findall("failure")
        and not case.findall("error")
        for case in ElementTree.parse(folder / "report.xml").iter("testcase")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_nbval_verdict(verdicts, name):
    assert verdicts[name] is VARIANTS[name][1]


@pytest.mark.parametrize(
    ("stored", "fresh", "same"),
    [
        ("[ 9.996 1.5]", "[10.003  1.5]", True),
        ("1.00e-08", "1.004e-08", True),
        ("1.00e-08", "1.01e-08", False),
        ("order 2.00", "order -2.00", False),
        ("version 1.2.30", "version 1.2.31", False),
        ("after 1000.", "after 1001.", False),
        ("3", "3.0", False),
        ("nan", "1.0", False),
        ("float32[3]", "float64[3]", False),
    ],
)
def test_same_output(stored, fresh, same):
    assert comparison.same_output(stored, fresh) is same
    assert (comparison.Output(stored) != comparison.Output(fresh)) is not same


@pytest.mark.slow
def test_recording_twice_gives_the_same_file(tmp_path):
    path = tmp_path / "figure.ipynb"
    cells = [
        nbf.new_markdown_cell("A figure."),
        nbf.new_code_cell("import matplotlib.pyplot as plt\n%matplotlib inline"),
        nbf.new_code_cell("plt.plot([0, 1]);"),
        nbf.new_code_cell("from igrlib import plots\nplots.use_style()"),
        nbf.new_code_cell("plt.plot([0, 1], label='$x$')\nplt.legend();"),
        nbf.new_code_cell("plt.plot([pow(7, k, 104729) for k in range(40_000)], '.');"),
    ]
    path.write_text(nbf_text(cells))
    assert "never executed" in "".join(tool.problems(path))
    tool.record(path)
    first = path.read_bytes()
    tool.record(path)
    assert path.read_bytes() == first
    kinds = [
        {kind for output in cell.outputs for kind in output.get("data", {}) if "image/" in kind}
        for cell in nbformat.read(path, as_version=4).cells[2:]
    ]
    assert kinds == [{"image/png"}, set(), {"image/svg+xml"}, {"image/png"}]
    assert tool.problems(path) == []


def test_images_are_kept_in_few_colours_and_once_only():
    """A picture of 1,000 colours stays within a few shades of itself; a transparent one is left."""
    ramp = np.linspace(0, 255, 1000).reshape(20, 50).astype(np.uint8)
    picture = Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp, 0 * ramp + 255], -1), "RGBA")
    small = tool.few_colours(png(picture))
    with Image.open(io.BytesIO(small)) as image:
        assert image.mode == "P"
        shades = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(picture)[..., :3])
    assert shades.max() <= 12
    assert tool.few_colours(small) == small
    picture.putalpha(128)
    assert tool.few_colours(png(picture)) == png(picture)


def test_a_palette_is_as_small_as_the_picture_allows():
    """Stripes of 40 colours far apart keep them all, those of shades close together need not.

    Two thin lines of colours that mean something keep theirs beside many shades of grey.
    """
    far = np.random.default_rng(0).integers(0, 256, (40, 3))
    for stripes, most in ((far, 48), (100 + far // 32, 32)):
        picture = Image.fromarray(stripes.astype(np.uint8)[None].repeat(50, axis=0))
        with Image.open(io.BytesIO(tool.few_colours(png(picture)))) as image:
            assert len(image.getpalette()) // 3 <= most
            shades = np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(picture))
        assert shades.max() <= (0 if most == 48 else 6)
    picture = np.repeat(np.arange(0, 256, 4)[:, None, None], 600, axis=1).repeat(3, axis=2)
    lines = {50: (0, 158, 115), 40: (0, 114, 178)}
    for row, colour in lines.items():
        picture[row, 10:110] = colour
    image = Image.fromarray(picture.astype(np.uint8))
    with Image.open(io.BytesIO(tool.few_colours(png(image)))) as found:
        kept = np.asarray(found.convert("RGB"), int)
    for row, colour in lines.items():
        assert np.abs(kept[row, 10:110] - colour).max() <= 20


def nbf_text(cells):
    return tool.dumps(nbf.new_notebook(cells=cells))


def test_form_is_refused_after_a_change(tmp_path):
    path = tmp_path / "changed.ipynb"
    path.write_text(tool.dumps(notebook()))
    assert tool.problems(path) == []
    path.write_text(path.read_text().replace('"execution_count": 1', '"execution_count": 7'))
    assert tool.problems(path) == [f"{path}: not in normal form"]


def test_torn_prints_are_refused(tmp_path):
    path = tmp_path / "torn.ipynb"
    found = notebook()
    value = found.cells[0].outputs.pop()
    pieces = [nbf.new_output("stream", name="stdout", text=t) for t in ("slope ", "2.7\n")]
    found.cells[0].outputs = pieces
    path.write_text(tool.dumps(found))
    assert tool.problems(path) == [f"{path}: cell 1 prints in pieces: 'slope ' | '2.7\\n'"]
    # What a value stands between are two prints.
    found.cells[0].outputs = [pieces[0], value, pieces[1]]
    path.write_text(tool.dumps(found))
    assert tool.problems(path) == []


def test_a_build_that_executes_keeps_printed_lines_whole(monkeypatch):
    """As MyST-NB calls it: the pieces of a line come apart in time."""
    monkeypatch.setenv("IGR_EXECUTE", "force")
    monkeypatch.setattr(direct, "single_nb_execution", direct.single_nb_execution)
    load(BOOK / "_ext" / "fresh_execution.py").choose_mode(None, SimpleNamespace())
    line = "import time\nprint('h = 1.0:', end=' ', flush=True)\ntime.sleep(0.5)\nprint(0.42)"
    found = nbf.new_notebook(cells=[nbf.new_code_cell(line)])
    direct.single_nb_execution(found, cwd=None, timeout=60, allow_errors=False)
    assert [output.text for output in found.cells[0].outputs] == ["h = 1.0: 0.42\n"]


def test_the_cell_that_fetches_the_book_follows_its_address():
    cells = [nbf.new_markdown_cell("# Title"), nbf.new_code_cell("1 + 1")]
    found = nbf.new_notebook(cells=list(cells))
    tool.fetched_from(found, "https://example.org/a/b")
    assert [cell.cell_type for cell in found.cells] == ["markdown", "code", "code"]
    assert "git clone --quiet --depth 1 https://example.org/a/b " in found.cells[1].source
    assert "remove-cell" in found.cells[1].metadata["tags"]
    found.cells[1].execution_count = 7
    tool.fetched_from(found, "https://example.org/a/b")
    assert found.cells[1].execution_count == 7
    assert len(found.cells) == 3
    tool.fetched_from(found, "https://example.org/c/d")
    assert "c/d" in found.cells[1].source
    assert found.cells[1].execution_count is None
    tool.fetched_from(found, "")
    assert found.cells == cells


def test_the_cell_that_fetches_the_book_does_nothing_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell.instance()
    result = shell.run_cell(tool.FETCH.format(url="https://example.invalid/a/b"))
    assert result.success
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_that_stood_alone_imports_what_lies_beside_the_chapters(tmp_path, monkeypatch):
    """Colab's kernel did not start in the book's folder, which would be on its path."""
    folder = tmp_path / "the-book" / "book"
    folder.mkdir(parents=True)
    (folder / "beside_the_chapters.py").write_text("found = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    shell = InteractiveShell.instance()
    assert shell.run_cell(tool.FETCH.format(url="https://example.invalid/a/b")).success
    assert shell.run_cell("import beside_the_chapters").success


@pytest.mark.parametrize(
    ("url", "edit", "colab"),
    [("", False, False), ("https://github.com/a/b", True, True), ("https://x.org/a", True, False)],
)
def test_buttons_that_need_an_address(url, edit, colab):
    config = SimpleNamespace(html_theme_options={"repository_url": url})
    load(BOOK / "_ext" / "repository_buttons.py").switch_buttons(None, config)
    options = config.html_theme_options
    assert options["use_edit_page_button"] is edit
    assert ("colab_url" in options.get("launch_buttons", {})) is colab
