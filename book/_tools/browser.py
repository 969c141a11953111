"""Headless Chromium, as the tests of the pages and `make pdf` need it."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NOT_FOUND = f"no browser found, looked for {', '.join(NAMES)}"

# A promise, kept when the mathematics is set; and what stands where a formula was wrong.
MATHEMATICS = "() => document.fonts.ready.then(() => globalThis.MathJax?.startup?.promise)"
WRONG_FORMULA = "[data-mjx-error], mjx-merror, [data-mml-node=merror]"


def find():
    """The browser of the system, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)
