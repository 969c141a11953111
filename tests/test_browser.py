"""The built book in a real browser, without a network: what a reader would see and could not."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import browser as installed
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.html

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
PAGES = sorted((HTML / "book").rglob("*.html"))
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1300, "height": 900}

MISSING_PICTURES = """() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().then(() => [], () => [image.src]);
})).then((found) => found.flat())"""
UNNAMED_PICTURES = """() => [...document.images].filter((image) => !image.alt.trim() &&
  image.getAttribute("role") !== "presentation").map((image) => image.src)"""
WIDER = """() => [...document.querySelectorAll("body *")].filter((node) =>
  node.getBoundingClientRect().right > document.documentElement.clientWidth + 1 &&
  getComputedStyle(node).position !== "fixed").slice(-5).map((n) => n.outerHTML.slice(0, 120))"""

# What is folded is opened first: closed, it has no width.
CUT = """() => {
  const folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((node) => { node.open = true; });
  const hidden = [...document.querySelectorAll(".toggle-hidden")];
  hidden.forEach((node) => node.classList.remove("toggle-hidden"));
  const found = [...document.querySelectorAll(".bd-article :not(svg *)")]
    .filter((node) => node.scrollWidth > node.clientWidth &&
      /auto|scroll/.test(getComputedStyle(node).overflowX))
    .map((n) => `${n.scrollWidth} in ${n.clientWidth} px: ${n.textContent.trim().slice(0, 80)}`);
  folded.forEach((node) => { node.open = false; });
  hidden.forEach((node) => node.classList.add("toggle-hidden"));
  return found;
}"""
# A glyph that no outline was found for has no width.
UNDRAWN = """() => [...document.querySelectorAll("article .formula use, .formula-display use")]
  .filter((glyph) => glyph.getBBox().width === 0).map((glyph) => glyph.outerHTML)"""
BESIDE_THE_LINE = """() => [...document.querySelectorAll("article .formula svg")]
  .filter((drawing) => !drawing.closest("table"))
  .filter((drawing) => drawing.getBoundingClientRect().right >
    drawing.closest("p, li, dt, dd, figcaption, h1, h2, h3, div").getBoundingClientRect().right + 1)
  .map((drawing) => drawing.closest(".formula").textContent)"""
PARTED = """() => [...document.querySelectorAll("article .formula-kept")]
  .filter((node) => {
    const parts = [...node.childNodes].filter((n) => !n.classList?.contains("formula-spoken"));
    const range = document.createRange();
    const tops = parts.map((n) => (range.selectNode(n), range.getBoundingClientRect()));
    return Math.max(...tops.map((r) => r.top)) > Math.min(...tops.map((r) => r.bottom));
  }).map((node) => node.textContent)"""
TORN = """() => [...document.querySelectorAll(".cell_output > .stream + .stream")]
  .map((node) => `${node.previousElementSibling.textContent}|${node.textContent}`)"""

# The levels A and AA of the guidelines. Style sheets are read as they stand, not asked for again.
AXE = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
    "preload": False,
}


@dataclass
class Visit:
    """A page, and what went wrong while it was open."""

    page: object
    path: Path
    errors: list[str] = field(default_factory=list)
    remote: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium():
    found = installed.find()
    if found is None:
        pytest.skip(installed.NOT_FOUND)
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


def visit(browser, path, query="", **options):
    """The page when its fonts are there, with a record of errors and requests."""
    context = browser.new_context(viewport=DESKTOP, **options)
    context.set_default_timeout(60_000)
    seen = Visit(context.new_page(), path)
    page = seen.page
    page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("requestfailed", lambda r: seen.failed.append(r.url))
    local = ("file:", "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(local) else seen.remote.append(r.url))
    page.goto(path.as_uri() + query)
    page.evaluate(installed.FONTS)
    page.wait_for_timeout(300)  # for what the page does after that
    return seen


def each_page(paths):
    """One group for each page, so that one process opens it, once."""
    return [pytest.param(p, id=p.stem, marks=pytest.mark.xdist_group(p.stem)) for p in paths]


@pytest.fixture(scope="module", params=each_page(PAGES))
def opened(chromium, request):
    seen = visit(chromium, request.param)
    yield seen
    seen.page.context.close()


def test_no_error_and_no_request_to_anywhere(opened):
    assert opened.errors == []
    assert opened.failed == []
    assert opened.remote == []


def test_formulas_are_drawn(opened):
    assert opened.page.evaluate(UNDRAWN) == []


def test_formulas_fit_on_a_phone_and_keep_their_punctuation(opened):
    opened.page.set_viewport_size(PHONE)
    try:
        assert opened.page.evaluate(BESIDE_THE_LINE) == []
        assert opened.page.evaluate(PARTED) == []
    finally:
        opened.page.set_viewport_size(DESKTOP)


def test_pictures_are_there_and_named(opened):
    assert opened.page.evaluate(MISSING_PICTURES) == []
    assert opened.page.evaluate(UNNAMED_PICTURES) == []


def test_no_sideways_scroll_on_a_phone(opened):
    opened.page.set_viewport_size(PHONE)
    try:
        width = opened.page.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["width"], opened.page.evaluate(WIDER)
    finally:
        opened.page.set_viewport_size(DESKTOP)


def test_nothing_is_cut_or_torn_on_a_desktop(opened):
    """Formulas, code and what it prints fit into the column, each print in one box."""
    assert opened.page.evaluate(CUT) == []
    assert opened.page.evaluate(TORN) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_labels(opened, scheme):
    # Colours on their way from one scheme to the other belong to neither.
    opened.page.add_style_tag(content="* { transition: none !important }")
    opened.page.evaluate("scheme => { document.documentElement.dataset.theme = scheme }", scheme)
    # What is dark differs from what is light in its colours alone.
    rules = AXE if scheme == "light" else AXE | {"runOnly": ["color-contrast"]}
    # What is said of a formula is not shown.
    context = {"exclude": [[".formula-spoken"]]}
    found = Axe().run(opened.page, context, options=rules).response["violations"]
    told = [f"{v['id']}: {n['html'][:150]}" for v in found for n in v["nodes"][:4]]
    assert told == []


BASELINE = """() => [...document.querySelectorAll("article p .formula")]
  .filter((formula) => /^[hxEN]$/.test(formula.querySelector("math").textContent))
  .map((formula) => {
    const mark = document.createElement("span");
    mark.style.display = "inline-block";
    formula.before(mark);
    const ends = [formula.querySelector("use"), mark].map((n) => n.getBoundingClientRect().bottom);
    mark.remove();
    return ends[0] - ends[1];
  })"""


@pytest.mark.xdist_group("theorem")
def test_formulas_stand_on_the_line_and_need_no_scripts(chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "book" / "theorem.html").as_uri())
    assert page.locator("article .formula svg").first.bounding_box()["width"] > 5
    assert "\\" not in page.locator("article p").all_inner_texts()[0]
    context.close()
    seen = visit(chromium, HTML / "book" / "theorem.html")
    off = seen.page.evaluate(BASELINE)
    assert len(off) > 10
    assert off == pytest.approx([0] * len(off), abs=1)
    seen.page.context.close()


def test_search_finds_a_theorem_by_name(chromium):
    seen = visit(chromium, HTML / "search.html", "?q=one+step+of+Euler")
    seen.page.locator('#search-results a[href*="theorem.html"]').first.wait_for()
    seen.page.context.close()


# The explorers. Each is moved by mouse, by touch and by keyboard, and must say something new.

EXPLORERS = {
    "step": "theorem",
    "phase": "two_parameters",
    "sweep": "mnist",
    "optimizer": "optimizers",
    "parabola": "edge",
    "catapult": "edge",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(e, marks=pytest.mark.xdist_group(f"explorer-{e}")) for e in EXPLORERS],
)
def explorer(chromium, request):
    name = request.param
    seen = visit(chromium, HTML / "book" / f"{EXPLORERS[name]}.html", has_touch=True)
    box = seen.page.locator(f"[data-igr-explorer={name}]")
    box.scroll_into_view_if_needed()
    yield name, box
    assert seen.errors == []
    seen.page.context.close()


# What moves a control by one; of a list the last entry has none below it.
KEYS = """(node) => {
  if (node.matches("select"))
    return [node.selectedIndex + 1 < node.options.length ? "ArrowDown" : "ArrowUp"];
  return node.type === "number" ? ["ArrowUp", "Enter"] : ["ArrowLeft"];
}"""


def said(box):
    return box.locator(".igr-words").inner_text()


def middle(node):
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def moved_by(name, across, down):
    """How far a handle goes with the pointer: that of the parabola moves along hλ alone."""
    return (across, 0) if name == "parabola" else (across, down)


def held_by(name, box, index):
    """What is taken hold of: a handle, or a model to be pointed at."""
    if name == "sweep":
        return box.locator(".igr-plot").first.locator(".igr-model").nth(index)
    return box.locator(".igr-handle").first


def test_explorer_by_mouse(explorer):
    name, box = explorer
    mouse, before, held = box.page.mouse, said(box), held_by(name, box, -1)
    x, y = middle(held)
    mouse.move(x, y)
    if name != "sweep":
        mouse.down()
        mouse.move(x - 30, y + 20, steps=5)
        mouse.up()
        right, down = moved_by(name, -30, 20)
        assert middle(held) == pytest.approx((x + right, y + down), abs=2)
    assert said(box) != before


@pytest.mark.xdist_group("explorer-sweep")
def test_a_model_that_was_pressed_is_kept(chromium):
    seen = visit(chromium, HTML / "book" / f"{EXPLORERS['sweep']}.html")
    box, mouse = seen.page.locator("[data-igr-explorer=sweep]"), seen.page.mouse
    box.scroll_into_view_if_needed()
    mouse.move(*middle(held_by("sweep", box, 3)))
    mouse.down()
    mouse.up()
    kept = said(box)
    mouse.move(*middle(held_by("sweep", box, 60)))
    assert said(box) == kept
    mouse.down()
    mouse.up()
    assert said(box) != kept
    seen.page.context.close()


def test_explorer_by_touch(explorer):
    """A finger that moves up and down drags the handle, and does not scroll the page.

    Downwards: the handle begins near the top of its plot, beyond which it does not go.
    """
    name, box = explorer
    before, held = said(box), held_by(name, box, 40)
    x, y = middle(held)
    send = box.page.context.new_cdp_session(box.page).send
    touch = lambda kind, *points: send(  # noqa: E731
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": u, "y": v} for u, v in points]},
    )
    scrolled = box.page.evaluate("() => scrollY")
    touch("touchStart", (x, y))
    for k in range(1, 9):
        box.page.wait_for_timeout(20)  # a page that wants to scroll takes its time to decide
        touch("touchMove", (x + k, y + 5 * k))
    touch("touchEnd")
    assert said(box) != before
    if name != "sweep":
        assert box.page.evaluate("() => scrollY") == scrolled
        right, down = moved_by(name, 8, 40)
        assert middle(held) == pytest.approx((x + right, y + down), abs=2)


DRAWN = "node => node.closest('[data-igr-explorer]').querySelector('.igr-row').innerHTML"


def test_explorer_by_keyboard(explorer):
    """Tab reaches every control of it, and each changes what is drawn; all but one, the words."""
    name, box = explorer
    controls = box.locator("select, input, .igr-handle")
    controls.first.focus()
    for k in range(controls.count()):
        control = controls.nth(k)
        assert control.evaluate("node => node === document.activeElement"), f"control {k}"
        label = control.evaluate("node => node.ariaLabel || node.labels?.[0]?.textContent")
        assert label
        before, drawn = said(box), control.evaluate(DRAWN)
        for key in control.evaluate(KEYS):
            box.page.keyboard.press(key)
        assert control.evaluate(DRAWN) != drawn, f"{label} of {name}"
        # A curve is of the picture alone.
        if label != "Curve":
            assert said(box) != before, f"{label} of {name}"
        box.page.keyboard.press("Tab")


@pytest.mark.xdist_group("explorer-parabola")
def test_the_ends_and_the_landmarks_of_the_parabola(chromium):
    seen = visit(chromium, HTML / "book" / f"{EXPLORERS['parabola']}.html")
    box = seen.page.locator("[data-igr-explorer=parabola]")
    box.scroll_into_view_if_needed()
    slider, exact = box.locator("input[type=range]"), box.locator("input[type=number]")
    for held in (slider, box.locator(".igr-handle")):
        for key, value in (
            ("End", "2.5"),
            ("ArrowLeft", "2.49"),
            ("Home", "0"),
            ("ArrowUp", "0.01"),
        ):
            held.press(key)
            assert (slider.input_value(), exact.input_value()) == (value, value)
    handle = box.locator(".igr-handle .igr-touch")
    for mark, words in (("1", "lands on the minimum"), ("2", "to and fro for ever")):
        exact.fill(mark)
        exact.press("Enter")
        assert words in said(box)
        # Both stand over their numbers: the handle, and the thumb, 16 px wide.
        chart = box.locator(".igr-plot").last
        number = chart.locator(".igr-axes text", has_text=re.compile(f"^{mark}$")).first
        assert middle(handle)[0] == pytest.approx(middle(number)[0], abs=2)
        area = slider.bounding_box()
        thumb = area["x"] + 8 + (area["width"] - 16) * float(mark) / 2.5
        landmark = box.locator(".igr-mark", has_text=re.compile(f"^{mark}$"))
        assert middle(landmark)[0] == pytest.approx(thumb, abs=1)
    exact.fill("7")
    exact.press("Enter")
    assert exact.input_value() == "2.5"
    seen.page.context.close()


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_reader_without_scripts_is_sent_to_a_figure(chromium, name):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "book" / f"{EXPLORERS[name]}.html").as_uri())
    box = page.locator(f"[data-igr-explorer={name}]")
    assert box.locator(".igr-title").is_visible()
    figure = box.get_by_role("link").get_attribute("href")
    assert page.locator(f"[id='{figure[1:]}'] img").is_visible()
    context.close()


def test_what_an_explorer_says_is_read_out(explorer):
    _, box = explorer
    box.page.wait_for_timeout(1000)
    assert box.get_by_role("status").inner_text() == said(box)
