"""Print the book, built as one page, to a PDF by headless Chromium.

    python book/_tools/pdf.py _build/singlehtml/book.html _build/book.pdf

Waits until the mathematics is set, opens what is folded away, and refuses a page with an error.
"""

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SET = "() => globalThis.MathJax.startup.promise"
UNFOLD = """() => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll("details").forEach((node) => (node.open = true));
  document.querySelectorAll("img").forEach((image) => (image.loading = "eager"));
  return Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
}"""
WRONG = "[data-mjx-error], mjx-merror, [data-mml-node=merror]"
FOOTER = """<div style="width: 100%; font-size: 8px; text-align: center">
<span class="pageNumber"></span></div>"""
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "17mm", "right": "17mm"}
TIMEOUT = 600_000


def find_browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or sys.exit(f"no browser found, looked for {', '.join(BROWSERS)}")


def print_pdf(page_path, target):
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT)
        page.goto(page_path.resolve().as_uri())
        page.evaluate(SET)
        if wrong := page.locator(WRONG).count():
            sys.exit(f"{wrong} formulas are wrong")
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
        browser.close()


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
