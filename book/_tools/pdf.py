"""Print the book, built as one page, to a PDF by headless Chromium.

    python book/_tools/pdf.py _build/singlehtml/index.html _build/book.pdf

Waits until the fonts are there, opens what is folded away, and refuses a page with a wrong
formula or a missing picture.
"""

import argparse
import re
import sys
from pathlib import Path

import browser
from playwright.sync_api import sync_playwright
from pypdf import PdfWriter
from pypdf.generic import NameObject, TextStringObject

UNFOLD = """() => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll("details").forEach((node) => (node.open = true));
  document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
  return Promise.all([...document.images].map((image) => image.decode()));
}"""
FOOTER = """<div style="width: 100%; font-size: 8px; text-align: center">
<span class="pageNumber"></span></div>"""
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"}
SCALE = 0.8  # so that a line of 100 columns of code fits
TIMEOUT = 600_000
# Of a heading that it moves to a new page Chromium writes number and text twice.
TWICE = re.compile(r"((?:\d+\.)+ )?(?:\1)?(.+)\2")


def print_pdf(source, target):
    executable = browser.find() or sys.exit(browser.NOT_FOUND)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(TIMEOUT)
        page.goto(source.resolve().as_uri())
        page.evaluate(browser.FONTS)
        if wrong := page.locator(browser.WRONG_FORMULA).count():
            sys.exit(f"{source}: wrong formulas: {wrong}")
        page.evaluate(UNFOLD)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.pdf(
            path=target,
            format="A4",
            scale=SCALE,
            margin=MARGIN,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
        )
        chromium.close()
    mend_outline(target)


def once(title):
    """The title of a heading once: an outline may repeat it."""
    found = TWICE.fullmatch(title)
    return (found[1] or "") + found[2] if found else title


def entries(outline):
    """The entries below one of a PDF's outline, in order."""
    entry = outline.get("/First")
    while entry is not None:
        entry = entry.get_object()
        yield entry
        yield from entries(entry)
        entry = entry.get("/Next")


def mend_outline(path):
    document = PdfWriter(clone_from=path)
    outline = document.root_object.get("/Outlines")
    for entry in entries(outline.get_object()) if outline else ():
        entry[NameObject("/Title")] = TextStringObject(once(entry["/Title"]))
    document.write(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        sys.exit(f"{arguments.page} is not there: build it first")
    print_pdf(arguments.page, arguments.target)
    print(f"{arguments.target}: {arguments.target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
