"""Print the book, built as one page, to a PDF by headless Chromium.

    python book/_tools/pdf.py _build/singlehtml/book.html _build/book.pdf

Waits until the mathematics is set, opens what is folded away, and refuses a page with a wrong
formula or a missing picture.
"""

import argparse
import sys
from pathlib import Path

import browser
from playwright.sync_api import sync_playwright

UNFOLD = """() => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll("details").forEach((node) => (node.open = true));
  document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
  return Promise.all([...document.images].map((image) => image.decode()));
}"""
FOOTER = """<div style="width: 100%; font-size: 8px; text-align: center">
<span class="pageNumber"></span></div>"""
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"}
TIMEOUT = 600_000


def print_pdf(source, target):
    executable = browser.find() or sys.exit(browser.NOT_FOUND)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(TIMEOUT)
        page.goto(source.resolve().as_uri())
        page.evaluate(browser.MATHEMATICS)
        if wrong := page.locator(browser.WRONG_FORMULA).count():
            sys.exit(f"{source}: wrong formulas: {wrong}")
        page.evaluate(UNFOLD)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.pdf(
            path=target,
            format="A4",
            margin=MARGIN,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
        )
        chromium.close()


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
