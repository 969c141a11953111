"""The built pages in headless Chromium: a frame of an explorer, and the largest paint."""

import importlib.util
import statistics
from pathlib import Path

from playwright.sync_api import sync_playwright

from .found import Comparison, Series

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html" / "book"
EXPLORERS = {
    "step": "theorem",
    "loss": "theorem",
    "phase": "two_parameters",
    "sweep": "mnist",
    "optimizer": "optimizers",
    "parabola": "edge",
    "catapult": "edge",
    "river": "../index",
    "dial": "resnet",
    "ellipse": "ntk",
    "rescale": "geometry",
}

# Milliseconds from an event to the end of the layout that it makes necessary, for many events. A
# slider is moved through its whole range, a model after the other is chosen.
FRAMES = """(root) => {
  const slider = root.querySelector("input[type=range]");
  const control = slider ?? [...root.querySelectorAll("select")].pop();
  const isRange = control.type === "range";
  const [low, high] = isRange ? [+control.min, +control.max] : [0, control.options.length - 1];
  const took = [];
  for (let k = 0; k <= 60; k++) {
    const place = low + ((high - low) * k) / 60;
    control.value = isRange ? place : Math.round(place);
    const began = performance.now();
    control.dispatchEvent(new Event(isRange ? "input" : "change"));
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
        for explorer, chapter in EXPLORERS.items():
            page = chromium.new_page()
            page.goto((HTML / f"{chapter}.html").as_uri())
            page.evaluate(installed.FONTS)
            box = page.locator(f"[data-igr-explorer={explorer}]")
            times = [t for _ in range(rounds) for t in box.evaluate(FRAMES)]
            print(
                f"a frame of the explorer {explorer}: {statistics.median(times):.1f} ms, "
                f"nine in ten under {statistics.quantiles(times, n=10)[-1]:.1f}, "
                f"longest {max(times):.1f} (aim 20)"
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
            print(f"largest paint of {name}: {middle:.2f} s ({low:.2f} to {high:.2f}, aim 1.5)")
        chromium.close()
    return [
        Comparison("pages", "a frame of an explorer", frames),
        Comparison(
            "pages",
            "the largest paint of a page",
            [Series(name, "seconds", seconds) for name, seconds in paints.items()],
        ),
    ]
