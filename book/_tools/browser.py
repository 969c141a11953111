"""Headless Chromium, as the tests of the pages and `make pdf` need it."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NOT_FOUND = f"no browser found, looked for {', '.join(NAMES)}"

# A promise, kept when the fonts are there; and what stands where a formula was wrong.
FONTS = "() => document.fonts.ready.then(() => true)"
WRONG_FORMULA = ".formula-wrong"


def find():
    """The browser of the system, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)
