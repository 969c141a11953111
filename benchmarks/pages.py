"""The built pages in headless Chromium: a frame of an explorer, and the largest paint."""

import importlib.util
import re
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

from .found import Comparison, Series

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html" / "book"
EXPLORER = re.compile(r'<\w+ [^>]*\bdata-igr-explorer="(\w+)"')

# Milliseconds from an event to the end of the layout that it makes necessary, for many events. A
# slider is moved through its whole range, a model after the other is chosen; what has neither is
# turned by its handle.
FRAMES = """(root) => {
  const slider = root.querySelector("input[type=range]");
  const control = slider ?? [...root.querySelectorAll("select")].pop();
  const handle = control ? null : root.querySelector("[role=slider]");
  const isRange = control?.type === "range";
  const last = (control?.options?.length ?? 1) - 1;
  const [low, high] = isRange ? [+control.min, +control.max] : [0, last];
  const took = [];
  for (let k = 0; k <= 60; k++) {
    const place = low + ((high - low) * k) / 60;
    if (isRange) control.value = place;
    else if (control) control.selectedIndex = Math.round(place);
    const began = performance.now();
    const key = k < 30 ? "ArrowUp" : "ArrowLeft";
    if (handle) handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    else control.dispatchEvent(new Event(isRange ? "input" : "change"));
    root.getBoundingClientRect();
    took.push(performance.now() - began);
  }
  return took;
}"""
LARGEST = """() => new Promise((done) => {
  new PerformanceObserver((list) => done(list.getEntries().pop().startTime))
    .observe({ type: "largest-contentful-paint", buffered: true });
})"""


def _browser():
    spec = importlib.util.spec_from_file_location(
        "browser", ROOT / "book" / "_tools" / "browser.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(rounds):
    """Print the times; frames in milliseconds, every one of all rounds, and paints in seconds."""
    installed, pages = _browser(), sorted([*HTML.glob("*.html"), *HTML.parent.glob("index.html")])
    if not pages or not installed.find():
        print("pages: no built book, or no browser")
        return []
    frames = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=installed.find(), args=["--no-sandbox"])
        shown = [
            (name, path) for path in pages for name in EXPLORER.findall(path.read_text("utf-8"))
        ]
        for explorer, path in shown:
            page = chromium.new_page()
            page.goto(path.as_uri())
            page.evaluate(installed.FONTS)
            box = page.locator(f"[data-igr-explorer={explorer}]")
            times = [t for _ in range(rounds) for t in box.evaluate(FRAMES)]
            print(
                f"a frame of the explorer {explorer}: {statistics.median(times):.1f} ms, "
                f"nine in ten under {statistics.quantiles(times, n=10)[-1]:.1f}, "
                f"longest {max(times):.1f} (aim 16)"
            )
            frames.append(Series(explorer, "milliseconds", times))
            page.close()
        paints = {path.stem: [] for path in pages}
        for _ in range(rounds):
            for path in pages:
                page = chromium.new_page()
                page.goto(path.as_uri())
                paints[path.stem].append(page.evaluate(LARGEST) / 1000)
                page.close()
        for name, seconds in paints.items():
            low, high = min(seconds), max(seconds)
            middle = statistics.median(seconds)
            print(f"largest paint of {name}: {middle:.2f} s ({low:.2f} to {high:.2f}, aim 1.0)")
        chromium.close()
    return [
        Comparison("pages", "a frame of an explorer", frames),
        Comparison(
            "pages",
            "the largest paint of a page",
            [Series(name, "seconds", seconds) for name, seconds in paints.items()],
        ),
    ]
