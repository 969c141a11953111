"""Execute chapters in place and write them in one normal form, or check that form.

    python book/_tools/notebooks.py book/theorem.ipynb     execute, normalise, write
    python book/_tools/notebooks.py --check book/*.ipynb   refuse what is not in normal form

In normal form the counts run 1..N, cell ids are cell-1 .. cell-M, no timestamps or versions are
kept. A figure is a drawing (SVG), or, where that would be heavy, a picture (PNG) without metadata
and with few colours, a quarter of the bytes; `igrlib.plots` chooses. Executing again gives an empty
diff.
"""

import argparse
import base64
import io
import os
import struct
import sys
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from PIL import Image, ImageChops, PngImagePlugin

from igrlib.plots._display import BOTH

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
VOLATILE_NOTEBOOK = ("widgets", "papermill", "vscode", "toc", "varInspector")
VOLATILE_CELL = ("execution", "ExecuteTime", "papermill", "collapsed", "scrolled", "vscode")
# The README shows the figure of this name, kept as a file beside the book.
README_FIGURE = "fig-introduction-reveal"
README_PNG = Path(__file__).resolve().parent.parent / "_static" / "opening.png"
# A palette has the first of these sizes with which no colour of MANY pixels is off by more than
# LOST of 255 in any channel: a thin line is a small part of a picture, but its colour means much.
COLOURS = (32, 48, 64, 96, 128, 192, 256)
MANY, LOST = 100, 20
SIGNATURE = "sha256 of the drawing"
CONFIG = Path(__file__).resolve().parents[2] / "_config.yml"
FETCH_TAG = "fetch-book"
FETCH = """\
# Where this notebook stands alone, as on Colab, the book and its package are fetched first.
import importlib.util
import sys

from pathlib import Path

if importlib.util.find_spec("igrlib") is None:
    !git clone --quiet --depth 1 {url} the-book
    %pip install --quiet "./the-book[notebooks]"
if Path("the-book").exists():  # also where the session began anew
    %cd the-book/book
    sys.path.insert(0, str(Path.cwd()))  # of the explorers"""
PNG_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"tIME", b"eXIf")


def strip_png(data):
    """Drop a PNG's text and time chunks, which name the versions that drew it."""
    kept, position = [data[:8]], 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        end = position + 12 + length
        if data[position + 4 : position + 8] not in PNG_TEXT:
            kept.append(data[position:end])
        position = end
    return b"".join(kept)


def few_colours(data):
    """An opaque PNG with a palette as small as looks the same; one that has a palette stays."""
    with Image.open(io.BytesIO(data)) as image:
        if image.mode == "P" or image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            return data
        whole, size = image.convert("RGB"), image.info.get("dpi")
    every = whole.getcolors(whole.width * whole.height)
    frequent = [colour for n, colour in every if n >= min(MANY, max(every)[0])]
    row = Image.new("RGB", (len(frequent), 1))
    row.putdata(frequent)
    for colours in COLOURS:
        found = whole.quantize(colours, kmeans=1, dither=Image.Dither.NONE)
        kept = row.quantize(palette=found, dither=Image.Dither.NONE).convert("RGB")
        if max(high for _, high in ImageChops.difference(row, kept).getextrema()) <= LOST:
            break
    stream = io.BytesIO()
    found.save(stream, "PNG", optimize=True, **({"dpi": size} if size else {}))
    return stream.getvalue()


def address():
    """Where the book's source lives, as _config.yml has it; empty if it does not say."""
    return yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["repository"]["url"]


def fetched_from(notebook, url):
    """Give a notebook, in place, the cell that fetches the book; without an address, none."""
    cells = [c for c in notebook.cells if FETCH_TAG not in c.metadata.get("tags", [])]
    if url:
        tags = [FETCH_TAG, "remove-cell"]
        cell = nbformat.v4.new_code_cell(FETCH.format(url=url), metadata={"tags": tags})
        old = [c for c in notebook.cells if c not in cells]
        if old and old[0].source == cell.source:
            cell = old[0]
        cells.insert(1, cell)
    notebook.cells = cells
    return notebook


def normalise(notebook):
    """Put a notebook into normal form, in place."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for key in VOLATILE_NOTEBOOK:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = KERNELSPEC
    notebook.metadata["language_info"] = {"name": "python"}
    count = 0
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
        for key in VOLATILE_CELL:
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        if cell.execution_count is not None:
            count += 1
            cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = cell.execution_count
            data = output.get("data", {})
            if "image/svg+xml" in data:
                data.pop("image/png", None)
            for mime, content in data.items():
                if mime.endswith("image/png"):
                    png = strip_png(few_colours(base64.b64decode(content)))
                    output["data"][mime] = base64.b64encode(png).decode()
    return notebook


def dumps(notebook):
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def problems(path):
    """What keeps a notebook from being in normal form, as a list of sentences."""
    text = Path(path).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    found = []
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        if cell.execution_count is None:
            found.append(f"{path}: cell {number} was never executed")
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                found.append(f"{path}: cell {number} writes to stderr: {output.text.strip()!r}")
        for first, second in pairwise(cell.outputs):
            if first.output_type == second.output_type == "stream" and first.name == second.name:
                pieces = f"{first.text!r} | {second.text!r}"
                found.append(f"{path}: cell {number} prints in pieces: {pieces}")
    if dumps(normalise(fetched_from(notebook, address()))) != text:
        found.append(f"{path}: not in normal form")
    return found


def figure(notebook, name):
    """What the figure cell of that name shows, by the kind of it; empty without such a cell."""
    for cell in notebook.cells:
        if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == name:
            for output in cell.outputs:
                if found := {k: v for k, v in output.get("data", {}).items() if "image/" in k}:
                    return found
    return {}


def signed(png, drawing):
    """A PNG that names the drawing it shows."""
    note = PngImagePlugin.PngInfo()
    note.add_text(SIGNATURE, sha256(drawing.encode()).hexdigest())
    stream = io.BytesIO()
    with Image.open(io.BytesIO(few_colours(png))) as image:
        image.save(stream, "PNG", optimize=True, pnginfo=note)
    return stream.getvalue()


def record(path):
    notebook = fetched_from(nbformat.read(path, as_version=4), address())
    os.environ.pop(BOTH, None)
    if any(
        cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == README_FIGURE
        for cell in notebook.cells
    ):
        os.environ[BOTH] = "1"
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(Path(path).parent)}},
    )
    client.execute()
    if opening := figure(notebook, README_FIGURE):
        png = base64.b64decode(opening["image/png"])
        README_PNG.write_bytes(signed(png, opening["image/svg+xml"]))
    Path(path).write_text(dumps(normalise(notebook)), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only look, change nothing")
    parser.add_argument("notebooks", nargs="*", type=Path)
    arguments = parser.parse_args()
    found = []
    for path in arguments.notebooks:
        if not arguments.check:
            print(f"executing {path}", flush=True)
            record(path)
        found += problems(path)
    if found:
        sys.exit("\n".join(found) + "\n`make record` executes the chapters and normalises them.")


if __name__ == "__main__":
    main()
