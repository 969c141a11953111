"""The built book in a real browser, without a network: what a reader would see and could not."""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import browser as installed
import jax.numpy as jnp
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from helpers.formulas import derivatives, random_formulas, twin, twin_gaps
from helpers.scripts import close
from PIL import Image
from playwright.sync_api import sync_playwright

import explorers
import igrlib as ig

pytestmark = pytest.mark.html

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"
FIRST = HTML / "index.html"
PAGES = [FIRST, *sorted((HTML / "book").rglob("*.html"))]
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1300, "height": 900}

MISSING_PICTURES = """() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().then(() => [], () => [image.src]);
})).then((found) => found.flat())"""
UNNAMED_PICTURES = """() => [...document.images].filter((image) => !image.alt.trim() &&
  image.getAttribute("role") !== "presentation").map((image) => image.src).concat(
  [...document.querySelectorAll(".igr-drawing[role=img]")].filter((node) =>
  node.ariaLabel.trim().length < 20).map((node) => node.outerHTML.slice(0, 120)))"""
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
# A glyph that no outline was found for has no width; nor has one of an answer that waits.
UNDRAWN = """() => {
  const waiting = [...document.querySelectorAll('.igr-prediction[data-state="open"]')];
  waiting.forEach((box) => { box.dataset.state = "chosen"; });
  const found = [...document.querySelectorAll("article .formula use, .formula-display use")]
    .filter((glyph) => glyph.getBBox().width === 0).map((glyph) => glyph.outerHTML);
  waiting.forEach((box) => { box.dataset.state = "open"; });
  return found;
}"""
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


@dataclass
class Visit:
    """A page, and what went wrong while it was open."""

    page: object
    path: Path
    errors: list[str] = field(default_factory=list)
    remote: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)


@pytest.fixture(scope="session")
def chromium():
    found = installed.find()
    if found is None:
        pytest.skip(installed.NOT_FOUND)
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    arguments += ["--host-resolver-rules=MAP * ~NOTFOUND"]
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
    page.on("request", lambda r: seen.files.add(Path(unquote(urlsplit(r.url).path))))
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


def test_pictures_are_there_and_named(opened):
    assert opened.page.evaluate(MISSING_PICTURES) == []
    assert opened.page.evaluate(UNNAMED_PICTURES) == []


def test_a_page_is_light_with_all_that_it_loads(opened):
    opened.page.evaluate(MISSING_PICTURES)
    weight = sum(file.stat().st_size for file in opened.files if file.is_file())
    assert weight < (1e6 if opened.path == FIRST else 2.5e6)


def test_nothing_is_cut_or_torn_on_a_desktop(opened):
    """Formulas, code and what it prints fit into the column, each print in one box."""
    assert opened.page.evaluate(CUT) == []
    assert opened.page.evaluate(TORN) == []


# Of each drawing: how many parts it has, and of each that is shown its box, the size in pixels of
# the smallest text, and whether anything is drawn in it.
DRAWINGS = """() => [...document.querySelectorAll("article .igr-drawing[role=img]")].map((box) => {
  const whole = box.querySelector(".igr-whole");
  const parts = [...box.querySelectorAll(".igr-pieces svg")];
  const sizes = [...whole.querySelectorAll('g[transform*="scale("]')]
    .map((text) => 100 * /scale\\(([\\d.]+)/.exec(text.getAttribute("transform"))[1]);
  const shown = [whole, ...parts].filter((part) => part.getBoundingClientRect().width > 0);
  return {
    parts: parts.length,
    column: box.parentElement.getBoundingClientRect().right,
    shown: shown.map((part) => {
      const place = part.getBoundingClientRect(), scale = place.width / part.viewBox.baseVal.width;
      return {top: place.top, right: place.right, text: Math.min(...sizes) * scale,
        drawn: [...part.querySelectorAll("use, path")].some((node) => node.getBBox().width > 0)};
    }),
    scrolls: getComputedStyle(box).overflowX === "auto",
  };
})"""


def test_drawings_are_read_on_a_desktop(opened):
    for drawing in opened.page.evaluate(DRAWINGS):
        (whole,) = drawing["shown"]
        assert whole["right"] <= drawing["column"] + 1
        assert whole["text"] >= 11
        assert not drawing["scrolls"]


# Of each drawing in pieces: the leaves, with the rectangle that is seen of them, that reach into a
# piece which does not draw them, and the number of those that it draws beside what reaches in.
PIECES = """() => [...document.querySelectorAll("article .igr-parted")].map((box) => {
  const whole = box.querySelector(".igr-whole"), to = whole.getScreenCTM();
  const seen = (leaf) => {
    let {left, top, right, bottom} = leaf.getBoundingClientRect();
    for (let node = leaf; node !== whole; node = node.parentNode) {
      const clip = /#(\\w+)/.exec(node.getAttribute("clip-path") || "");
      if (!clip) continue;
      const frame = document.getElementById(clip[1]).firstElementChild;
      const [x, y, w, h] = ["x", "y", "width", "height"].map((k) => +frame.getAttribute(k));
      left = Math.max(left, to.a * x + to.e), right = Math.min(right, to.a * (x + w) + to.e);
      top = Math.max(top, to.d * y + to.f), bottom = Math.min(bottom, to.d * (y + h) + to.f);
    }
    return {left, top, right, bottom};
  };
  const leaves = [...whole.querySelectorAll("use, path, image")]
    .filter((node) => !node.closest("defs")).map((node) => [node, seen(node)])
    .filter(([, area]) => area.right >= area.left && area.bottom >= area.top);
  const found = {leaves: leaves.length, missing: [], beside: 0};
  for (const piece of box.querySelectorAll(".igr-pieces svg")) {
    const {x, y, width, height} = piece.viewBox.baseVal;
    const [left, top] = [to.a * x + to.e, to.d * y + to.f];
    const [right, bottom] = [left + to.a * width, top + to.d * height];
    const runs = [...piece.querySelectorAll("use")].map((use) => use.getAttribute("href"));
    for (const [node, area] of leaves) {
      const drawn = runs.some((run) => node.closest(run));
      const meets = area.right > left + 0.5 && area.left < right - 0.5 &&
        area.bottom > top + 0.5 && area.top < bottom - 0.5;
      if (meets && !drawn) found.missing.push(node.outerHTML.slice(0, 90));
      if (drawn && !meets) found.beside += 1;
    }
  }
  return found;
})"""


def test_a_piece_of_a_drawing_draws_all_that_reaches_into_it(opened):
    """And little else: a page of seven whole drawings in place of one was slow to lay out."""
    for drawing in opened.page.evaluate(PIECES):
        assert drawing["missing"] == []
        assert drawing["beside"] <= 0.02 * drawing["leaves"]


# The tests for a phone come after those for a desktop, so that a page is laid out anew once.
def test_drawings_are_read_on_a_phone(opened):
    """Panels stand one below the other; a drawing of one panel may scroll in its own box."""
    opened.page.set_viewport_size({"width": 390, "height": 844})
    for drawing in opened.page.evaluate(DRAWINGS):
        shown = drawing["shown"]
        assert len(shown) == max(drawing["parts"], 1)
        assert all(part["drawn"] and part["text"] >= 10.9 for part in shown)
        if drawing["parts"]:
            tops = [part["top"] for part in shown]
            assert tops == sorted(tops)
        fits = all(part["right"] <= drawing["column"] + 1 for part in shown)
        assert fits or drawing["scrolls"]


@pytest.fixture
def on_phone(opened):
    if opened.page.viewport_size != PHONE:
        opened.page.set_viewport_size(PHONE)
    return opened.page


def test_formulas_fit_on_a_phone_and_keep_their_punctuation(on_phone):
    assert on_phone.evaluate(BESIDE_THE_LINE) == []
    assert on_phone.evaluate(PARTED) == []


def test_no_sideways_scroll_on_a_phone(on_phone):
    width = on_phone.evaluate("() => document.documentElement.scrollWidth")
    assert width <= PHONE["width"], on_phone.evaluate(WIDER)


PAINTED = """() => [...new Set(
  [...document.querySelectorAll("article .igr-whole :is([fill], [stroke])")]
  .flatMap((node) => ["fill", "stroke"].filter((kind) => /^var/.test(node.getAttribute(kind)))
    .map((kind) => `${node.getAttribute(kind)} ${getComputedStyle(node)[kind]}`)))]"""
PAGE_GROUND = "() => getComputedStyle(document.body).backgroundColor"


def luminance(colour):
    channels = [int(c) / 255 for c in re.findall(r"\d+", colour)[:3]]
    light = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot((0.2126, 0.7152, 0.0722), light))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_what_is_seen_on_white_is_seen_in_the_dark(opened):
    """Lines and letters of drawings, by the colours that the browser gives them."""
    page = opened.page
    page.evaluate("() => { document.documentElement.dataset.theme = 'light' }")
    assert contrast(page.evaluate(PAGE_GROUND), "255, 255, 255") < 1.01
    plain = dict(found.split(" ", 1) for found in page.evaluate(PAINTED))
    page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    page.wait_for_timeout(300)
    night = dict(found.split(" ", 1) for found in page.evaluate(PAINTED))
    ground = page.evaluate(PAGE_GROUND)
    page.evaluate("() => { document.documentElement.dataset.theme = 'light' }")
    assert luminance(ground) < 0.02
    for name, colour in plain.items():
        channels = map(int, re.findall(r"\d+", colour)[:3])
        assert "".join(f"{c:02x}" for c in channels) in name
        if contrast(colour, "255, 255, 255") >= 3:
            assert contrast(night[name], ground) > 2.95, name


# Strokes of formulas and drawings have no text, and what is said of a formula is not shown.
BARE = """() => document.querySelectorAll(".formula svg, .igr-drawing svg, .formula-spoken")
  .forEach((node) => node.replaceChildren())"""
# Of all texts that are drawn alike, in the same kind of place, on the same ground, one is kept.
DISTINCT = """() => {
  const kind = (node) => !node || node === document.body ? "" :
    `${node.tagName}.${node.className}>${kind(node.parentElement)}`;
  const ground = (node) => {
    const colour = node ? getComputedStyle(node).backgroundColor : "none";
    return colour === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : colour;
  };
  const FORM = "input, select, textarea, button, img";
  const texts = (node) => [...node.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
  const told = [...document.querySelectorAll("article *:not(svg *)")]
    .filter((node) => texts(node).length).map((node) => [node, kind(node)]);
  for (const scheme of ["dark", "light"]) {
    document.documentElement.dataset.theme = scheme;
    for (const one of told) {
      const style = getComputedStyle(one[0]);
      one.push(ground(one[0]), style.color, style.fontSize, style.fontWeight, style.opacity);
    }
  }
  const seen = new Set();
  const again = told.filter(([, ...look]) => seen.size === seen.add(look.join("|")).size);
  again.forEach(([node]) => texts(node).forEach((text) => { text.data = " "; }));
  const blank = (node) => !node.textContent.trim() && !node.matches(FORM) &&
    !node.querySelector(FORM);
  [...document.querySelectorAll("article *")].filter(blank).forEach((node) => node.remove());
  return seen.size;
}"""
# Style sheets are read as they stand, not asked for again.
AXE = {"resultTypes": ["violations"], "preload": False}
# The levels A and AA of the guidelines.
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
GUIDELINES = {"runOnly": {"type": "tag", "values": LEVELS}}
ALL_BUT_CONTRAST = GUIDELINES | {"rules": {"color-contrast": {"enabled": False}}}


def violations(page, rules, context=None):
    found = Axe().run(page, context, options=AXE | rules).response["violations"]
    return [f"{v['id']}: {n['html'][:150]} {n['any'][:1]}" for v in found for n in v["nodes"][:4]]


def test_names_roles_and_order(opened):
    """What axe finds by the guidelines, but for contrast."""
    opened.page.set_viewport_size(DESKTOP)
    opened.page.evaluate(BARE)
    assert violations(opened.page, ALL_BUT_CONTRAST) == []


# The last test of a page: it takes texts away.
def test_contrast(opened):
    page = opened.page
    page.evaluate(BARE)
    # Colours on their way from one scheme to the other belong to neither.
    page.add_style_tag(content="* { transition: none !important }")
    assert page.evaluate(DISTINCT) > 5
    for scheme in ("light", "dark"):
        page.evaluate("scheme => { document.documentElement.dataset.theme = scheme }", scheme)
        assert violations(page, {"runOnly": ["color-contrast"]}) == [], scheme


BASELINE = """() => [...document.querySelectorAll("article p .formula")]
  .filter((formula) => /^[hxEN]$/.test(formula.querySelector("math").textContent))
  .map((formula) => {
    const mark = document.createElement("span");
    mark.style.display = "inline-block";
    formula.before(mark);
    const ends = [formula.querySelector("use"), mark].map((n) => n.getBoundingClientRect().bottom);
    mark.remove();
    return ends[0] - ends[1];
  }).filter((off) => Math.abs(off) < 20)  // else the mark stayed on the line before
"""


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


@pytest.mark.parametrize(
    ("query", "address", "marked"),
    [
        ("one step of Euler", "book/theorem.html#what-one-step-misses", "step"),
        ("edge of stability", "book/edge.html#the-edge-of-stability", "edge"),
        ("modified_loss", "#igrlib.regularizer.modified_loss", "loss"),
        ("SAM", "book/explicit.html#is-this-sam", "sam"),
        ("Gronwall", "book/", "grönwall"),
        ("λ_max catapult", "book/", "catapult"),
    ],
)
def test_search_finds_sections_and_shows_what_they_say(chromium, query, address, marked):
    seen = visit(chromium, HTML / "search.html", f"?q={quote(query)}")
    results = seen.page.locator("#search-results")
    first = results.locator("li").first
    assert address in first.locator("a").get_attribute("href")
    assert marked in " ".join(first.locator("mark, a").all_inner_texts()).lower()
    assert re.match(r"\d+ sections? ha", results.get_by_role("status").inner_text())
    assert seen.page.locator("input[name=q]").last.input_value() == query
    first.locator("a").click()
    seen.page.wait_for_url(re.compile(re.escape(address)))
    seen.page.context.close()


def test_search_says_what_is_missing(chromium):
    for query, said in (("xyzzy", "No section"), ("", "Type a word"), ("the", "sections have")):
        seen = visit(chromium, HTML / "search.html", f"?q={query}")
        assert said in seen.page.locator("#search-results").inner_text()
        seen.page.context.close()


# The explorers. Each is moved by mouse, by touch and by keyboard, and must say something new.

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
    "decay": "introduction",
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(e, marks=pytest.mark.xdist_group(f"explorer-{e}")) for e in EXPLORERS],
)
def explorer(chromium, request):
    name = request.param
    seen = visit(chromium, (HTML / "book" / f"{EXPLORERS[name]}.html").resolve(), has_touch=True)
    box = seen.page.locator(f"[data-igr-explorer={name}]")
    box.scroll_into_view_if_needed()
    yield name, box
    assert seen.errors == []
    seen.page.context.close()


# What moves a control by one, and of landmarks to the last. A last entry of a list has none below.
LABEL = "node => node.ariaLabel || node.labels?.[0]?.textContent || node.textContent"
KEYS = """(node) => {
  if (node.matches("select"))
    return [node.selectedIndex + 1 < node.options.length ? "ArrowDown" : "ArrowUp"];
  if (node.type === "radio") return ["ArrowRight"];
  if (node.matches(".igr-press")) return ["End", "Enter"];
  if (node.matches("button")) return ["Enter"];
  if (node.type === "text") return ["End", "+", "a"];
  return node.type === "number" ? ["ArrowDown", "Enter"] : ["ArrowLeft"];
}"""


def said(box):
    return box.locator(".igr-words").inner_text()


def middle(node):
    box = node.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def moved_by(name, across, down):
    """How far a handle goes with the pointer: that of a parabola moves along hs alone."""
    return (across, 0) if name in ("parabola", "decay") else (across, down)


def room_below(name):
    """1 where a handle begins near the top of its plot, -1 where near the bottom."""
    return -1 if name == "river" else 1


def held_by(name, box, index):
    """What is taken hold of: a handle, or a model to be pressed."""
    if name == "sweep":
        return box.locator(".igr-plot").first.locator(".igr-model").nth(index)
    if name == "rescale":
        return box.locator("input[type=range]")
    if name == "ellipse":  # the tip of a feature: the errors keep to their circle
        return box.locator(".igr-handle").nth(1)
    return box.locator(".igr-handle").first


def test_explorer_by_mouse(explorer):
    name, box = explorer
    mouse, before, held = box.page.mouse, said(box), held_by(name, box, -1)
    x, y = middle(held)
    mouse.move(x, y)
    if name == "sweep":
        assert said(box) == before  # only pointed at
        mouse.down()
        mouse.up()
    else:
        mouse.down()
        mouse.move(x - 30, y + 20 * room_below(name), steps=5)
        mouse.up()
        right, down = moved_by(name, -30, 20 * room_below(name))
        if name == "rescale":  # its thumb moves, and the slider stays
            right, down = 0, 0
        assert middle(held) == pytest.approx((x + right, y + down), abs=2)
    assert said(box) != before


@pytest.fixture(scope="module")
def sweep(chromium):
    seen = visit(chromium, HTML / "book" / f"{EXPLORERS['sweep']}.html")
    box = seen.page.locator("[data-igr-explorer=sweep]")
    box.scroll_into_view_if_needed()
    yield box
    assert seen.errors == []
    seen.page.context.close()


SLID = 800
"""Milliseconds: the marks slide for six tenths of a second."""


@pytest.mark.xdist_group("explorer-sweep")
def test_a_model_that_was_pressed_is_chosen_and_can_be_undone(sweep):
    mouse, ring = sweep.page.mouse, sweep.locator(".igr-ring")
    none = said(sweep)
    assert not ring.is_visible()

    def press(index):
        mouse.move(*middle(held_by("sweep", sweep, index)))
        mouse.down()
        mouse.up()

    press(3)
    chosen = said(sweep)
    assert chosen != none
    assert middle(ring) == pytest.approx(middle(held_by("sweep", sweep, 3)), abs=1)
    assert sweep.get_by_role("combobox", name="Model").input_value() == "3"
    mouse.move(*middle(held_by("sweep", sweep, 50)))
    assert said(sweep) == chosen
    # Its name is shown where the pointer is.
    assert re.fullmatch(r"width \d+, h = [\d.]+, seed \d", sweep.locator(".igr-tip").text_content())
    press(3)
    assert said(sweep) == none
    press(50)
    assert said(sweep) not in (none, chosen)
    sweep.locator(".igr-stop").press("Escape")
    assert said(sweep) == none
    assert not ring.is_visible()


@pytest.mark.xdist_group("explorer-sweep")
def test_the_models_by_keyboard(sweep):
    """One stop of Tab. Across: the learning rate; up and down: the seed and the width."""
    models = sweep.locator(".igr-stop")
    names = []
    for key in ("Home", "ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown", "End"):
        models.press(key)
        names.append(models.get_attribute("aria-valuetext"))
    first, faster, above, slower, below, last = (re.findall(r"[\d.]+", name) for name in names)
    assert first == below
    assert faster[::2] == first[::2]
    assert float(faster[1]) > float(first[1])
    assert above[1] == faster[1]
    assert above[::2] != faster[::2]
    assert slower == [above[0], first[1], above[2]]
    assert int(last[0]) > int(first[0])
    models.press("Escape")
    assert models.get_attribute("aria-valuetext") == "none chosen"


@pytest.mark.xdist_group("explorer-sweep")
def test_the_line_of_equal_loss_is_dragged_and_moved_by_keys(sweep):
    compare = sweep.get_by_label("Compare at")
    compare.select_option("loss")
    sweep.page.wait_for_timeout(SLID)
    line, dot, mouse = (
        sweep.locator(".igr-level-line"),
        held_by("sweep", sweep, 20),
        sweep.page.mouse,
    )
    assert line.get_attribute("aria-valuetext") == "0.01"
    assert "Where E falls to 0.01" in said(sweep)
    before, (x, y) = middle(dot), middle(line.locator(".igr-grip"))
    mouse.move(x, y)
    mouse.down()
    mouse.move(x, y + 30, steps=5)
    mouse.up()
    assert middle(line.locator(".igr-grip")) == pytest.approx((x, y + 30), abs=2)
    assert float(line.get_attribute("aria-valuenow")) < 0.01
    assert middle(dot) != before
    line.press("Escape")
    assert line.get_attribute("aria-valuetext") == "0.01"
    for key, end in (("End", "max"), ("Home", "min")):
        line.press(key)
        assert line.get_attribute("aria-valuenow") == line.get_attribute(f"aria-value{end}")
    line.press("Shift+ArrowUp")
    low, now = (float(line.get_attribute(f"aria-value{name}")) for name in ("min", "now"))
    assert now == pytest.approx(low * 10**0.5)
    # Of the loss alone it is a line; a grip is as large as a finger wants it.
    grip = line.locator(".igr-grip").bounding_box()
    assert min(grip["width"], grip["height"]) >= 24
    sweep.get_by_label("Curve").select_option("accuracy")
    assert line.count() == 0
    for at in ("steps", "time"):
        compare.select_option(at)
        assert line.get_attribute("aria-orientation") == "horizontal"
        line.press("ArrowLeft")
        assert float(line.get_attribute("aria-valuenow")) < float(
            line.get_attribute("aria-valuemax")
        )
    compare.select_option("test")
    sweep.get_by_label("Curve").select_option("loss")


@pytest.mark.xdist_group("explorer-sweep")
def test_deals_leave_ghosts_and_are_taken_back(sweep):
    deal, hundred, back = (sweep.locator(".igr-deals button").nth(k) for k in range(3))
    plot = sweep.locator(".igr-plot").first
    # From the top of the plot, since the page may scroll to a button.
    place_of = lambda: middle(held_by("sweep", sweep, 20))[1] - plot.bounding_box()["y"]  # noqa: E731
    deal.click()  # which ends what plays when it is seen
    back.click()
    sweep.page.wait_for_timeout(2 * SLID)
    recorded, place = said(sweep), place_of()
    for count in (1, 2, 3):
        deal.click()
        assert sweep.locator(".igr-ghost").count() == count - 1
        assert sweep.locator(".igr-chance").count() == count
    assert "in the mean of 3 deals" in said(sweep)
    third = said(sweep)
    hundred.click()
    assert sweep.locator(".igr-chance").count() == 103
    assert sweep.locator(".igr-ghost").count() == 10
    back.click()
    assert said(sweep) == recorded
    for _ in range(3):
        deal.click()
    assert said(sweep) == third
    back.click()
    for _ in range(10):  # on a busy machine it slides for longer
        sweep.page.wait_for_timeout(SLID / 4)
        if abs(place_of() - place) < 1:
            break
    assert place_of() == pytest.approx(place, abs=1)
    for button in (deal, hundred, back):
        area = button.bounding_box()
        assert min(area["width"], area["height"]) >= 24


@pytest.mark.xdist_group("explorer-sweep")
def test_the_marks_slide_to_their_new_places_where_motion_is_wanted(chromium):
    for wanted in ("no-preference", "reduce"):
        path = HTML / "book" / f"{EXPLORERS['sweep']}.html"
        seen = visit(chromium, path, reduced_motion=wanted)
        box = seen.page.locator("[data-igr-explorer=sweep]")
        box.scroll_into_view_if_needed()
        dots = [held_by("sweep", box, k) for k in (0, 20, 40, 60)]
        before = [middle(dot)[1] for dot in dots]
        box.get_by_label("Compare at").select_option("loss")
        # Of a place on the way nothing is asked: a slow machine may see none.
        lasts = dots[0].evaluate("(node) => getComputedStyle(node).transitionDuration")
        seen.page.wait_for_timeout(SLID)
        after = [middle(dot)[1] for dot in dots]
        assert after != pytest.approx(before, abs=5)
        assert lasts == ("0s" if wanted == "reduce" else "0.6s")
        seen.page.context.close()


@pytest.mark.xdist_group("explorer-sweep")
def test_a_link_of_the_text_sets_what_it_names(sweep):
    links = sweep.page.locator("a[data-igr-sweep]")
    assert links.count() == 2
    sweep.locator(".igr-stop").press("Escape")
    before = said(sweep)
    for link, words in zip(links.all(), ("Dealt out at random", "Where E falls to"), strict=True):
        link.click()
        assert words in said(sweep)
        assert sweep.bounding_box()["y"] >= 0
    assert sweep.get_by_label("Show").input_value() == "squared"
    sweep.get_by_label("Show").select_option("regularizer")
    sweep.get_by_label("Compare at").select_option("test")
    assert said(sweep) == before


# Every pair of the first two lists, each with no model, with the first and with one of the last.
HEIGHTS = """(box, [compare, show, models]) => {
  const choose = (list, value) => {
    list.value = value;
    list.dispatchEvent(new Event("input", { bubbles: true }));
    list.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const states = [];
  for (const at of compare.options) for (const quantity of show.options)
    for (const model of ["-1", "0", "40"]) {
      [[compare, at.value], [show, quantity.value], [models, model]].forEach((c) => choose(...c));
      const words = box.querySelector(".igr-words").innerText;
      states.push({ height: box.getBoundingClientRect().height, words });
    }
  return states;
}"""


@pytest.mark.xdist_group("explorer-sweep")
@pytest.mark.parametrize("size", [DESKTOP, {"width": 390, "height": 844}], ids=["desktop", "phone"])
def test_the_sweep_keeps_its_height_and_fits_on_a_screen(chromium, size):
    seen = visit(chromium, HTML / "book" / f"{EXPLORERS['sweep']}.html", reduced_motion="reduce")
    seen.page.set_viewport_size(size)
    box = seen.page.locator("[data-igr-explorer=sweep]")
    seen.page.wait_for_timeout(300)
    words = box.locator(".igr-words")
    height = box.bounding_box()["height"]
    box.locator(".igr-deals button").nth(1).click()
    named = {"Compare at": 6, "Show": 3, "Model": 60}
    lists = [box.get_by_role("combobox", name=name) for name in named]
    for each, least in zip(lists, named.values(), strict=True):
        assert each.locator("option").count() >= least
    shown = box.evaluate(HEIGHTS, [each.element_handle() for each in lists])
    assert len({state["words"] for state in shown}) > 40
    for state in shown:
        assert state["height"] == pytest.approx(height, abs=1), state["words"]
    assert shown[-1]["words"] == words.inner_text()
    # From the first control to the end of the loss curves.
    top, end = (box.locator(part).bounding_box() for part in (".igr-control >> nth=0", ".igr-row"))
    assert end["y"] + end["height"] - top["y"] < size["height"] - 56  # the bar of the page
    # No number of an axis is cut.
    for plot in box.locator(".igr-plot").all():
        area = plot.locator("svg").bounding_box()
        for number in plot.locator(".igr-axes text").all():
            place = number.bounding_box()
            assert area["x"] <= place["x"] + 1
            assert place["x"] + place["width"] <= area["x"] + area["width"] + 1
    seen.page.context.close()


def test_explorer_by_touch(explorer):
    """A finger that moves up and down drags the handle, and does not scroll the page.

    Away from the edge near which it begins: beyond that it does not go.
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
        across, down = (5, 0) if name == "rescale" else (1, 5 * room_below(name))
        touch("touchMove", (x + k * across, y + k * down))
    touch("touchEnd")
    assert said(box) != before
    if name != "sweep":
        assert box.page.evaluate("() => scrollY") == scrolled
        right, down = moved_by(name, 8, 40 * room_below(name))
        if name == "rescale":
            right, down = 0, 0
        assert middle(held) == pytest.approx((x + right, y + down), abs=2)


DRAWN = "node => node.closest('[data-igr-explorer]').querySelector('.igr-row').innerHTML"


def test_explorer_by_keyboard(explorer):
    """Tab reaches every control of it, and each changes what is drawn; all but two, the words.

    Escape takes each change back before the next control.
    """
    name, box = explorer
    # Of examples one is a stop of Tab; the arrows lead to the others.
    one = (
        "select, input:not([type=radio]), legend + label > input, .igr-handle, .igr-stop,"
        " .igr-deals button, .igr-press[tabindex='0']"
    )
    controls = box.locator(one)
    box.get_by_role("button", name="Reset").click()
    controls.first.focus()
    for k in range(controls.count()):
        control = controls.nth(k)
        assert control.evaluate("node => node === document.activeElement"), f"control {k}"
        label = control.evaluate(LABEL)
        assert label
        before, drawn = said(box), control.evaluate(DRAWN)
        for key in control.evaluate(KEYS):
            box.page.keyboard.press(key)
        if control.evaluate(DRAWN) == drawn:
            box.page.wait_for_timeout(SLID)  # the window moves there
        assert control.evaluate(DRAWN) != drawn, f"{label} of {name}"
        # A curve and the lines between models are of the picture alone.
        if label not in ("Curve", "Join"):
            assert said(box) != before, f"{label} of {name}"
        # What the first two buttons of the sweep deal, the third takes back.
        if not control.evaluate("node => node.matches('.igr-deals button')"):
            box.page.keyboard.press("Escape")
            assert said(box) == before, f"{label} of {name}"
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
    assert exact.input_value() == "2"  # of which there is a parabola; 7 is none of the slider
    seen.page.context.close()


OWN_LOSS = HTML / "book" / f"{EXPLORERS['loss']}.html"
NUMBERS = "(state) => IGR.loss.compute(IGR.formula.jet(state.formula), state)"


@pytest.fixture(scope="module")
def own_loss(chromium):
    seen = visit(chromium, OWN_LOSS)
    box = seen.page.locator("[data-igr-explorer=loss]")
    box.scroll_into_view_if_needed()
    yield box
    assert seen.errors == seen.failed == seen.remote == []
    seen.page.context.close()


@pytest.mark.xdist_group("explorer-loss")
def test_the_numbers_of_your_own_loss_in_the_browser(own_loss):
    states = explorers.loss_explorer("fig-x").data["presets"]
    for formula, start, jet in random_formulas(1, seed=2):
        states.append({"formula": formula, "start": start, "h": 0.05 / np.abs(jet[1:]).max()})
    for state in states:
        loss, start = twin(state["formula"]), state["start"]
        found = own_loss.page.evaluate(NUMBERS, state)
        jet = derivatives(loss, start)
        close([found["E"], *found["gradient"]], jet[:3])
        close(found["R"], ig.implicit_gradient_regularizer(loss)(jnp.array(start)))
        hessian = jet[[3, 4, 4, 5]].reshape(2, 2)
        close(found["f1"], -hessian @ jet[1:3] / 2)
        gaps, ends, _ = twin_gaps(loss, start, [state["h"]])
        close(found["one"]["gap"], gaps[0])
        for name, at in zip(("end", "flow", "modified"), ends, strict=True):
            close(found["one"][name] if name == "end" else found["one"][name][-1], at[0])


@pytest.mark.xdist_group("explorer-loss")
def test_a_formula_that_is_wrong_is_marked_and_said(own_loss):
    page, formula = own_loss.page, own_loss.locator(".igr-formula")
    problem = own_loss.locator(".igr-problem")
    formula.fill("(1 - a)^2 + b^2")
    before = said(own_loss)
    for text, mark, words in (
        ("(1 - a)^2 + relu(b)", "relu", "relu has a corner"),
        ("(1 - a)^2 + sine(b)", "sine", "Did you mean sin?"),
        ("(1 - a)^2 + 2b", "b", "Write * between"),
        ("(1 - a)^2 + ", "", "ends where a value is wanted"),
    ):
        formula.fill(text)
        assert problem.locator("mark").inner_text().strip() == mark
        assert problem.locator("code").inner_text().strip() == text.strip()
        assert words in problem.inner_text()
        assert formula.get_attribute("aria-invalid") == "true"
        assert formula.get_attribute("aria-describedby") == problem.get_attribute("id")
        # What is moved meanwhile changes nothing of that.
        own_loss.locator(".igr-handle").press("ArrowLeft")
        assert words in problem.inner_text()
        page.wait_for_timeout(800)
        assert words in own_loss.get_by_role("status").inner_text()
    assert violations(page, GUIDELINES, "[data-igr-explorer=loss]") == []
    formula.fill("(1 - a)^2 + log(b)")
    own_loss.get_by_label("start b").fill("-1")
    own_loss.get_by_label("start b").press("Enter")
    assert "E is not finite at the start" in problem.inner_text()
    own_loss.get_by_label("start b").fill("1")
    own_loss.get_by_label("start b").press("Enter")
    assert not problem.is_visible()
    assert formula.get_attribute("aria-invalid") is None
    assert said(own_loss) != before


@pytest.mark.xdist_group("explorer-loss")
def test_an_example_is_taken_over_and_left_again(own_loss):
    assert own_loss.locator(".igr-legend").bounding_box()["width"] > 200
    formula, chosen = own_loss.locator(".igr-formula"), own_loss.locator("input:checked")
    own_loss.get_by_text("river", exact=True).click()
    assert "softplus(1 - a)" in formula.input_value()
    assert chosen.evaluate("node => node.labels[0].textContent") == "river"
    formula.press("End")
    formula.press_sequentially(" + a/9")
    assert chosen.count() == 0


@pytest.mark.xdist_group("explorer-loss")
def test_the_address_holds_your_own_loss(chromium, own_loss):
    own_loss.locator(".igr-formula").fill("exp(a) + (b - a)^2/2")
    for label, value in (("start a", "0.5"), ("start b", "-1.25"), ("h, as a number", "0.07")):
        own_loss.get_by_label(label).fill(value)
        own_loss.get_by_label(label).press("Enter")
    own_loss.page.wait_for_timeout(600)
    shown = said(own_loss)
    assert "From (0.5, −1.25) a step of h = 0.07 " in shown
    address = own_loss.page.evaluate("() => location.hash")
    seen = visit(chromium, OWN_LOSS, address)
    other = seen.page.locator("[data-igr-explorer=loss]")
    assert said(other) == shown
    assert other.bounding_box()["y"] < DESKTOP["height"]
    # A second address in the same page, and one that is of something else.
    seen.page.evaluate("() => { location.hash = '#loss:formula=a%5E2;start=1,2;h=0.25' }")
    other.get_by_text("From (1, 2) a step of h = 0.25").first.wait_for()
    seen.page.evaluate("() => { location.hash = '#references' }")
    assert other.locator(".igr-formula").input_value() == "a^2"
    assert seen.errors == []
    seen.page.context.close()


STILL = ("river", "ellipse", "decay")
"""The explorers that show a picture of their own where scripts are off."""


@pytest.mark.parametrize("name", [name for name in EXPLORERS if name not in STILL])
def test_a_reader_without_scripts_is_sent_to_a_figure(chromium, name):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "book" / f"{EXPLORERS[name]}.html").as_uri())
    box = page.locator(f"[data-igr-explorer={name}]")
    assert box.locator(".igr-title").is_visible()
    figure = box.get_by_role("link").get_attribute("href")
    assert page.locator(f"[id='{figure[1:]}'] :is(img, .igr-drawing)").is_visible()
    context.close()


# Every explorer plays once when it is seen, follows links and addresses, and goes back.

ALL = [pytest.param(name, marks=pytest.mark.xdist_group(f"explorer-{name}")) for name in EXPLORERS]
INVITES = dict.fromkeys(EXPLORERS, "drag me") | {"sweep": "Press a model"}
LINKS = {
    "step": ("h=*0.5", "loss=bowl", "h=0.2;start=0.5,1.2"),
    "loss": ("h=*0.5", "start=0.5,-0.5", "formula=(a^2 + 4*b^2)/2"),
    "phase": ("h=0.11", "start=2,2.5", "mu=1.2"),
    "sweep": ("deals=3", "at=loss;value=0.02", "quantity=accuracy;model=4"),
    "optimizer": ("kind=adam;beta=0.8", "effective=*2", "kind=nesterov;displaced=no"),
    "parabola": ("hs=1", "hs=*1.7", "hs=2.3"),
    "catapult": ("h=0.21", "start=2.8,3.5;h=0.18", "h=0.4"),
    "river": ("h=0.25", "start=2,-2", "h=*2"),
    "dial": ("h=0.5", "start=0.3,1.2", "h=*0.5"),
    "ellipse": ("angle=-45", "features=1,0,0.5,1", "angle=100"),
    "rescale": ("c=0.2", "c=5", "c=*2"),
    "decay": ("hs=1", "hs=*1.7", "hs=2.3"),
}
"""What links of a text may set, one after the other."""

ADD_LINKS = """([name, sets]) => {
  const box = document.querySelector(`[data-igr-explorer=${name}]`);
  document.querySelectorAll("a.added").forEach((link) => link.remove());
  for (const set of sets) {
    const link = document.createElement("a");
    Object.assign(link, { href: `#${box.id}`, textContent: set, className: "added" });
    link.dataset.igrSet = set;
    box.before(link, " ");
  }
}"""


def page_of(name):
    return (HTML / "book" / f"{EXPLORERS[name]}.html").resolve()


def drawn(box):
    return box.evaluate("box => [...box.querySelectorAll('.igr-row')].map((r) => r.innerHTML)")


def plays(box):
    return box.evaluate("box => 'igrPlaying' in box.dataset")


ADDRESS = "() => location.hash"
KEPT = 700
"""Milliseconds after which a state is in the address."""


def reset(box):
    """Where it began, it needs no address."""
    box.get_by_role("button", name="Reset").click()
    box.page.wait_for_function("() => location.hash === ''")


def address_other_than(page, before):
    """The address of a page, as soon as it is another."""
    page.wait_for_function("before => location.hash !== before", arg=before)
    return page.evaluate(ADDRESS)


@pytest.fixture(scope="module", params=ALL)
def quiet(chromium, request):
    """An explorer where motion is not wanted; each test begins with `reset`."""
    seen = visit(chromium, page_of(request.param), reduced_motion="reduce")
    box = seen.page.locator(f"#explorer-{request.param}")
    box.scroll_into_view_if_needed()
    seen.page.wait_for_timeout(400)
    assert not plays(box)
    assert seen.page.evaluate(ADDRESS) == ""
    yield request.param, box
    assert seen.errors == []
    seen.page.context.close()


def test_an_explorer_plays_once_and_ends_as_it_was(chromium, quiet):
    name, box = quiet
    reset(box)
    still, words = drawn(box), said(box)
    page = visit(chromium, page_of(name)).page
    page.clock.install()
    box = page.locator(f"#explorer-{name}")
    drawings = box.locator(".igr-row").first
    drawings.evaluate("node => node.scrollIntoView({block: 'center'})")
    plays_now = f"() => 'igrPlaying' in document.querySelector('#explorer-{name}').dataset"
    page.wait_for_function(plays_now)
    page.wait_for_timeout(500)
    for _ in range(20):  # a busy machine draws seldom
        if drawn(box) != still:
            break
        page.wait_for_timeout(100)
    assert drawn(box) != still
    assert said(box) == words  # nothing is read out meanwhile
    page.clock.fast_forward(20_000)
    page.wait_for_function(f"() => !({plays_now})()")
    assert drawn(box) == still
    for place in (0, 1e6):
        page.evaluate("place => scrollTo(0, place)", place)
        page.wait_for_timeout(200)
    drawings.evaluate("node => node.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    assert not plays(box)
    box.get_by_role("button", name="Play").click()
    assert plays(box)
    page.context.close()


def test_escape_brings_an_explorer_back(quiet):
    name, box = quiet
    reset(box)
    still, words = drawn(box), said(box)
    height = box.bounding_box()["height"]
    controls = box.locator("input[type=range], .igr-handle")
    for k in range(controls.count()):
        control, shown = controls.nth(k), []
        for key in ("Home", "End", "ArrowLeft"):
            control.press(key)
            shown.append(said(box))
            assert box.bounding_box()["height"] == pytest.approx(height, abs=1)
        assert len(set(shown)) >= 2, control  # μ = 1.995 and 2 are the same in three digits
        control.press("Escape")
        assert (drawn(box), said(box)) == (still, words)
    box.evaluate("(box, set) => box.igrTake(set)", LINKS[name][0])
    assert said(box) != words
    box.get_by_role("button", name="Play").press("Escape")
    assert (drawn(box), said(box)) == (still, words)


@pytest.mark.xdist_group("explorer-ellipse")
def test_the_buttons_of_the_ellipse_show_example_5_5(chromium):
    seen = visit(chromium, HTML / "book" / "ntk.html", reduced_motion="reduce")
    box = seen.page.locator("[data-igr-explorer=ellipse]")
    for name, form in (("ε = (1, −1)", "2 − 6 + 5 = 1."), ("ε = (1, 1)", "2 + 6 + 5 = 13.")):
        box.get_by_role("button", name=name).click()
        assert form in said(box)
    seen.page.context.close()


@pytest.mark.xdist_group("explorer-ellipse")
def test_the_ellipse_is_a_picture_where_scripts_are_off(chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "book" / "ntk.html").as_uri())
    pictures = page.locator("[data-igr-explorer=ellipse] .igr-still svg")
    assert pictures.count() == 2
    assert all(each.is_visible() for each in pictures.all())


BY_THE_TEXT = "a[data-igr-set]"


@pytest.fixture(scope="module", params=ALL)
def phone(chromium, request):
    """An explorer on a phone where motion is not wanted; the first test finds it untouched."""
    seen = visit(chromium, page_of(request.param), reduced_motion="reduce")
    seen.page.set_viewport_size({"width": 390, "height": 844})
    seen.page.wait_for_timeout(300)
    box = seen.page.locator(f"#explorer-{request.param}")
    box.scroll_into_view_if_needed()
    yield request.param, box
    assert seen.errors == []
    seen.page.context.close()


def test_an_explorer_invites_until_it_is_touched(phone):
    name, box = phone
    note = box.locator("text, span, p:not(.igr-heard)", has_text=INVITES[name])
    assert note.count() == 1
    assert note.is_visible()
    held = box.locator(".igr-handle, .igr-stop, input").first
    held = box.locator(".igr-handle").first if box.locator(".igr-handle").count() else held
    held.press("ArrowLeft")
    assert not note.is_visible()


def links_of(name, box):
    """The links of the text that lead to an explorer, and those that are added here."""
    box.page.evaluate(ADD_LINKS, [name, LINKS[name]])
    links = box.page.locator(f'{BY_THE_TEXT}[href="#explorer-{name}"]')
    assert links.count() >= len(LINKS[name])
    return links.all()


def test_links_set_an_explorer_and_escape_resets_it(phone):
    name, box = phone
    reset(box)
    first, plot, words = said(box), box.locator(".igr-plot").first, []
    for link in links_of(name, box):
        link.focus()
        link.press("Enter")
        box.page.wait_for_timeout(100)
        if link.get_attribute("class") == "added":
            words.append(said(box))
        area = plot.bounding_box()
        assert area["y"] >= 0, "it is brought into sight"
        assert area["y"] + area["height"] <= 844
        assert link.evaluate("node => node === document.activeElement")
    assert len({first, *words}) == 1 + len(LINKS[name])
    box.get_by_role("button", name="Play").press("Escape")
    assert said(box) == first


def test_nothing_below_an_explorer_jumps(phone):
    """Whatever it says, its sentence has one height, and is not cut."""
    name, box = phone
    reset(box)
    words, heights = box.locator(".igr-words"), set()
    for link in links_of(name, box):
        link.evaluate("node => node.click()")
        heights.add(round(words.bounding_box()["height"]))
        assert words.evaluate("node => node.scrollHeight <= node.clientHeight + 1")
    assert len(heights) == 1


def test_slider_and_picture_are_seen_at_once_on_a_phone(phone):
    """Above a picture, where the slider comes first and stays; else below it."""
    name, box = phone
    reset(box)
    precedes = "(node, other) => node.compareDocumentPosition(other) & 4"
    for slider in box.locator("input[type=range]").all()[:1]:
        for plot in box.locator(".igr-plot:has(svg)").all():
            above = slider.evaluate(precedes, plot.element_handle())
            last = plot if above else slider
            last.evaluate("node => node.scrollIntoView({block: 'end'})")
            box.page.wait_for_timeout(100)
            held, area = slider.bounding_box(), plot.bounding_box()
            first, second = (held, area) if above else (area, held)
            assert first["y"] >= 52, name  # below the bar of the page
            assert first["y"] + first["height"] <= second["y"] + 5, name
            assert second["y"] + second["height"] <= 845


SMALLER = """box => [...box.querySelectorAll("button, select, input, .igr-touch")]
  .filter((node) => node.checkVisibility()).map((node) => [node, node.getBoundingClientRect()])
  .filter(([, area]) => Math.min(area.width, area.height) < 24)
  .map(([node]) => node.outerHTML.slice(0, 90))"""


def test_what_is_pressed_is_large_enough(phone):
    _, box = phone
    assert box.evaluate(SMALLER) == []


WITH_LANDMARKS = {"step", "loss", "phase", "parabola", "catapult", "decay"}


def test_landmarks_are_one_stop_of_tab_and_can_be_pressed(phone):
    name, box = phone
    reset(box)
    groups = box.get_by_role("group").filter(has=box.page.locator(".igr-press"))
    assert (groups.count() > 0) == (name in WITH_LANDMARKS)
    for marks in groups.all():
        buttons, control = marks.locator("button"), marks.locator("xpath=../..")
        slider, exact = control.locator("input[type=range]"), control.locator("input[type=number]")
        assert marks.locator("[tabindex='0']").count() == 1
        buttons.first.focus()
        box.page.keyboard.press("End")
        assert buttons.last.evaluate("node => node === document.activeElement")
        assert marks.locator("[tabindex='0']").count() == 1
        values = set()
        for button in buttons.all():
            button.click()
            values.add(exact.input_value())
            # The thumb, 16 px wide, stands over the mark.
            area = slider.bounding_box()
            low, high, now = (
                float(value)
                for value in (
                    slider.get_attribute("min"),
                    slider.get_attribute("max"),
                    exact.input_value(),
                )
            )
            thumb = area["x"] + 8 + (area["width"] - 16) * (now - low) / (high - low)
            assert middle(button)[0] == pytest.approx(thumb, abs=2)
        assert len(values) == buttons.count()


@pytest.mark.xdist_group("explorer-step")
def test_the_step_size_goes_beyond_the_edge(chromium):
    """From 1/λ to 2/λ of the loss at the start, and on."""
    page = visit(chromium, page_of("step"), reduced_motion="reduce").page
    box = page.locator("#explorer-step")
    exact, slider = (
        box.get_by_label("Learning rate h, as a number"),
        box.locator("input[type=range]"),
    )
    marks, loss = box.locator(".igr-press"), box.get_by_label("Loss", exact=True)
    # Of the bowl λ = 4, wherever it starts.
    loss.select_option("bowl")
    for place, h in ((0, "0.25"), (1, "0.5")):
        marks.nth(place).click()
        assert exact.input_value() == h
        assert f"a step of h = {h} ends" in said(box)
    assert float(slider.get_attribute("max")) > 0.6
    slider.press("Home")
    assert 0 < float(exact.input_value()) < 0.01
    exact.fill("0.9")
    exact.press("Enter")
    assert "a step of h = 0.9 ends" in said(box)
    assert float(slider.input_value()) == 0.9
    # Far out on the loss without a minimum nothing is curved: the edge is beyond the slider.
    loss.select_option("logistic")
    box.evaluate("box => box.igrTake('start=4,-3')")
    before = marks.all_text_contents()
    box.evaluate("box => box.igrTake('start=4,1.5')")
    assert (before, marks.all_text_contents()) != (["1/λ", "2/λ"], ["1/λ", "2/λ"])
    page.context.close()


# The address of the page.


def test_an_address_shows_the_same_again(chromium, quiet):
    """In a new page, and in one that is open."""
    name, box = quiet
    page, other, words, address = box.page, None, set(), ""
    reset(box)
    for sets in LINKS[name]:
        box.evaluate("(box, set) => box.igrTake(set)", sets)
        address = address_other_than(page, address)
        shown = said(box)
        assert address.startswith(f"#{name}:")
        if other is None:
            other = visit(chromium, page_of(name), address, reduced_motion="reduce")
            again = other.page.locator(f"#explorer-{name}")
            assert 0 <= again.bounding_box()["y"] < 200, "it is scrolled into view"
        else:
            other.page.evaluate("hash => { location.hash = hash }", address)
            other.page.wait_for_timeout(200)
        assert said(again) == shown
        assert other.page.evaluate(ADDRESS) == address
        words.add(shown)
    assert len(words) == len(LINKS[name])
    assert other.errors == []
    other.page.context.close()
    reset(box)


def test_what_a_reader_chooses_is_in_the_address(quiet):
    """By keyboard; and a page whose address changes shows it."""
    name, box = quiet
    page = box.page
    reset(box)
    control = box.locator("input[type=range], .igr-handle, .igr-stop").first
    control.press("ArrowLeft")
    control.press("ArrowLeft")
    shown = said(box)
    page.wait_for_timeout(KEPT)  # the first press may have been written alone
    address = page.evaluate(ADDRESS)
    assert address.startswith(f"#{name}:")
    reset(box)
    assert said(box) != shown
    page.evaluate("hash => { location.hash = hash }", address)
    page.wait_for_timeout(200)
    assert said(box) == shown


COUNTED = """() => {
  window.writings = [];
  const write = history.replaceState.bind(history);
  history.replaceState = (...given) => (window.writings.push(performance.now()), write(...given));
}"""


@pytest.mark.xdist_group("explorer-step")
def test_a_drag_writes_seldom_and_does_not_move_the_page(chromium):
    page = visit(chromium, page_of("step"), reduced_motion="reduce").page
    box, mouse = page.locator("#explorer-step"), page.mouse
    handle = box.locator(".igr-handle")
    handle.evaluate("node => node.scrollIntoView({block: 'center'})")
    page.evaluate(COUNTED)
    at, (x, y) = page.evaluate("() => scrollY"), middle(handle)
    mouse.move(x, y)
    mouse.down()
    for k in range(40):
        mouse.move(x + 2 * k, y + k)
        page.wait_for_timeout(25)
    mouse.up()
    page.wait_for_timeout(KEPT)
    times = page.evaluate("() => window.writings")
    assert len(times) >= 2
    assert min(np.diff(times)) > 300
    assert page.evaluate("() => scrollY") == at
    assert page.evaluate(ADDRESS).startswith("#step:loss=bent;start=")
    page.context.close()


WRONG = (
    "#step:h=banana",
    "#step:",
    "#step:loss=steep",
    "#step:start=1;h=0.1",
    "#step:h=0.1;%",
    "#step:loss=%E0%A4%A",
    "#steps:h=0.3",
    "#explorer-step",
)


@pytest.mark.xdist_group("explorer-step")
def test_a_wrong_address_breaks_nothing(chromium):
    """Neither one that a page is opened with, nor one that is given to an open page."""
    seen = visit(chromium, page_of("step"), WRONG[0], reduced_motion="reduce")
    page, box = seen.page, seen.page.locator("#explorer-step")
    words = said(box)
    for wrong in WRONG:
        page.evaluate("hash => { location.hash = hash }", wrong)
        page.wait_for_timeout(200)
        assert said(box) == words, wrong
        box.locator(".igr-handle").press("ArrowLeft")
        assert said(box) != words, wrong
        box.locator(".igr-handle").press("Escape")
        assert said(box) == words, wrong
    assert seen.errors == []
    seen.page.context.close()


@pytest.mark.xdist_group("explorer-step")
def test_anchors_lead_where_they_led_and_explorers_of_a_page_keep_apart(chromium):
    address = "#loss:formula=a%5E2;start=1,2;h=0.25"
    seen = visit(chromium, page_of("step"), address, reduced_motion="reduce")
    page, step = seen.page, seen.page.locator("#explorer-step")
    loss = page.locator("#explorer-loss")
    mine, other = said(step), said(loss)
    assert "From (1, 2) a step of h = 0.25" in other
    target = page.locator("section[id] section[id]").last
    name = target.get_attribute("id")
    page.evaluate("name => { location.hash = `#${name}` }", name)
    page.wait_for_timeout(300)
    assert page.evaluate(ADDRESS) == f"#{name}"
    assert 0 <= target.bounding_box()["y"] < DESKTOP["height"]
    assert (said(step), said(loss)) == (mine, other)
    step.locator("input[type=range]").press("ArrowRight")
    page.wait_for_timeout(KEPT)
    assert page.evaluate(ADDRESS).startswith("#step:")
    assert said(loss) == other
    assert seen.errors == []
    page.context.close()


@pytest.mark.xdist_group("explorer-phase")
def test_the_phase_plane_follows_a_run_and_says_custom(chromium):
    page = visit(
        chromium, HTML / "book" / f"{EXPLORERS['phase']}.html", reduced_motion="reduce"
    ).page
    box = page.locator("#explorer-phase")
    setting, exact = box.locator("select"), box.get_by_label("Learning rate h, as a number")
    ticks = lambda: box.locator(".igr-plot").first.locator(".igr-axes text").all_text_contents()  # noqa: E731
    assert "−4" not in ticks()
    assert setting.input_value() == "0"
    for typed, badge, negative in (("0.11", 0, True), ("0.23", 1, True), ("0.03", 0, False)):
        exact.fill(typed)
        exact.press("Enter")
        assert setting.locator("option:checked").inner_text() == "custom"
        assert any(text.startswith("−") for text in ticks()) == negative
        assert box.get_by_text("gradient descent diverges").count() == badge
    exact.fill("")
    exact.press("Enter")
    assert exact.input_value() == "0.03"
    exact.fill("0.025")
    exact.press("Enter")
    assert setting.input_value() == "0"
    page.context.close()


@pytest.mark.xdist_group("explorer-decay")
def test_the_parabola_of_chapter_1_is_a_picture_where_scripts_are_off(chromium):
    context = chromium.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto((HTML / "book" / "introduction.html").as_uri())
    picture = page.locator("#explorer-decay .igr-still svg")
    assert picture.is_visible()
    assert picture.locator(".igr-line.igr-descent").count() == 1
    # A link of the text leads to it.
    assert page.locator(BY_THE_TEXT).first.get_attribute("href") == "#explorer-decay"
    context.close()


# The first page.

RIVER = "[data-igr-explorer=river]"
PLAYS = f"() => 'igrPlaying' in document.querySelector('{RIVER}').dataset"
PICTURE = f"() => document.querySelector('{RIVER} .igr-plot svg').innerHTML"


@pytest.mark.xdist_group("explorer-river")
def test_the_river_is_still_where_motion_is_not_wanted(chromium):
    context = chromium.new_context(viewport=DESKTOP, reduced_motion="reduce")
    page = context.new_page()
    page.goto(FIRST.as_uri())
    page.wait_for_selector(f"{RIVER} .igr-plot circle.igr-flow")
    before = page.evaluate(PICTURE)
    for _ in range(5):
        page.wait_for_timeout(100)
        assert not page.evaluate(PLAYS)
    assert page.evaluate(PICTURE) == before
    assert "gradient flow of E" in before
    context.close()


@pytest.mark.xdist_group("explorer-river")
def test_the_step_size_of_the_river_by_keyboard(chromium):
    seen = visit(chromium, FIRST, reduced_motion="reduce")
    slider = seen.page.locator(f"{RIVER} input")
    assert slider.count() == 1
    found = []
    for key in ("Home", "End", "ArrowLeft", "ArrowRight"):
        slider.press(key)
        found.append((slider.input_value(), said(seen.page.locator(RIVER))))
    assert [value for value, _ in found] == ["0.05", "0.9", "0.85", "0.9"]
    # Larger steps end flatter, see chapter 1.
    curvatures = [float(re.search(r"is ([\d.]+) there", words)[1]) for _, words in found]
    assert curvatures[0] > curvatures[2] > curvatures[1] == curvatures[3]
    seen.page.context.close()


@pytest.mark.xdist_group("explorer-river")
def test_the_river_is_a_picture_where_scripts_are_off(chromium):
    context = chromium.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(FIRST.as_uri())
    picture = page.locator(f"{RIVER} .igr-still svg")
    assert picture.is_visible()
    assert picture.bounding_box()["height"] > 250
    assert picture.locator("circle.igr-descent").count() > 10
    context.close()


def test_the_first_screen_says_what_this_is(chromium):
    """River, title, the reason and the three buttons are seen without scrolling."""
    seen = visit(chromium, FIRST)
    for part in (f"{RIVER} svg", "h1", ".igr-lead", ".igr-buttons"):
        box = seen.page.locator(f".bd-article {part}").first.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= DESKTOP["height"], part
    seen.page.context.close()


def test_what_an_explorer_says_is_read_out(explorer):
    _, box = explorer
    box.page.wait_for_timeout(1000)
    heard = box.get_by_role("status").inner_text()
    assert heard.replace("_", "") == said(box)  # what is seen has it below the line


# Predictions: choose, then see.

IN_THEOREM = HTML / "book" / "theorem.html"
PARTS = (".igr-answer", ".igr-said", ".igr-see", ".igr-again")


def shown(box):
    return [box.locator(part).is_visible() for part in PARTS]


OPEN, CHOSEN = [False, False, True, False], [True, True, False, True]


@pytest.fixture
def asked(chromium):
    """The prediction of a chapter, which has not been answered."""
    seen = visit(chromium, IN_THEOREM)
    yield seen.page.locator("#prediction-theorem-kink")
    assert seen.errors == []
    seen.page.context.close()


@pytest.mark.xdist_group("prediction")
def test_a_prediction_by_mouse_is_remembered_and_taken_back(asked):
    page = asked.page
    assert shown(asked) == OPEN
    asked.get_by_role("button", name="See the answer").click()
    assert shown(asked) == OPEN, "nothing was chosen"
    asked.locator(".igr-choice", has_text="No closer").click()
    assert shown(asked) == OPEN
    asked.get_by_role("button", name="See the answer").click()
    told = "You chose C. The answer is B."
    for _ in range(2):
        assert shown(asked) == CHOSEN
        assert asked.locator(".igr-said").inner_text() == told
        assert asked.get_by_role("radio", name="No closer").is_checked()
        assert asked.locator("[data-mark=right]").inner_text().startswith("B.")
        page.reload()  # and once more, as it is remembered
    asked.get_by_role("button", name="Choose again").click()
    for _ in range(2):
        assert shown(asked) == OPEN
        assert asked.locator(":checked").count() == 0
        page.reload()


@pytest.mark.xdist_group("prediction")
def test_a_prediction_by_keyboard_is_one_tab_stop_and_is_read_out(asked):
    """To try options with the arrows chooses none of them."""
    page, keys = asked.page, asked.page.keyboard
    focused = "() => [document.activeElement.type, document.activeElement.value]"
    asked.get_by_role("radio").first.focus()
    keys.press("Space")
    keys.press("ArrowDown")
    assert page.evaluate(focused) == ["radio", "B"]
    assert shown(asked) == OPEN
    keys.press("Tab")
    assert page.evaluate(focused)[0] == "submit"
    keys.press("Enter")
    assert shown(asked) == CHOSEN
    said = asked.locator(".igr-said")
    assert said.inner_text() == "You chose B, and that is right."
    for part in (said, asked.locator(".igr-answer")):
        assert part.evaluate("node => node.closest('[aria-live=polite]') !== null")
    assert said.evaluate("node => node === document.activeElement")
    assert asked.get_by_role("group", name="Your choice").count() == 1


@pytest.mark.xdist_group("prediction")
def test_what_a_prediction_hides_is_shown_by_a_choice(chromium):
    page = visit(chromium, HTML / "book" / "introduction.html").page
    box = page.locator("[data-hides]").first
    figure = page.locator(f"[id='{box.get_attribute('data-hides')}']")
    waits = """node => {
      const veil = node.closest(".igr-waiting") ?? node;
      return [veil.inert, getComputedStyle(veil).filter !== 'none'];
    }"""
    assert figure.evaluate(waits) == [True, True]
    # All between the figure and the target below it, and the target itself not.
    until = page.locator(f"[id='{box.get_attribute('data-until')}']")
    above = until.locator("xpath=preceding-sibling::*[1]")
    assert above.evaluate(waits) == [True, True]
    assert until.evaluate(waits) == [False, False]
    page.emulate_media(media="print")
    assert not figure.evaluate(waits)[1]
    assert box.locator(".igr-right").evaluate("node => node.checkVisibility()"), "folded on paper"
    page.emulate_media(media="screen")
    box.locator(".igr-choice").first.click()
    box.locator(".igr-see").click()
    page.wait_for_timeout(500)
    assert figure.evaluate(waits) == above.evaluate(waits) == [False, False]
    box.locator(".igr-again").click()
    page.get_by_role("button", name="Show it anyway").first.click()
    page.wait_for_timeout(500)
    assert figure.evaluate(waits) == [False, False]
    page.context.close()


SMALL = """() => [...document.querySelectorAll(`.igr-choice, .igr-prediction button,
  .igr-answer > summary, .igr-waiting-note > *`)]
  .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height < 24)
  .map((node) => node.outerHTML.slice(0, 80))"""


@pytest.mark.xdist_group("prediction")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answered_prediction_is_accessible(chromium, scheme):
    page = visit(chromium, IN_THEOREM, color_scheme=scheme).page
    assert page.evaluate(SMALL) == []
    for box in page.locator(".igr-prediction").all():
        box.locator(".igr-choice").first.click()
        box.locator(".igr-see").click()
    page.evaluate("""() => document.querySelectorAll(".igr-selfcheck details")
      .forEach((node) => { node.open = true; })""")
    assert page.evaluate(SMALL) == []
    context = {
        "include": [[".igr-prediction"], [".igr-selfcheck"]],
        "exclude": [[".formula-spoken"]],
    }
    assert violations(page, GUIDELINES, context) == []
    page.context.close()


@pytest.mark.xdist_group("prediction")
def test_a_prediction_without_scripts(chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(IN_THEOREM.as_uri())
    box = page.locator("#prediction-theorem-kink")
    assert box.locator("li").count() == 3
    assert all(option.is_visible() for option in box.locator("li").all())
    assert not box.locator(".igr-right").is_visible()
    box.locator("summary").click()
    assert box.locator(".igr-right").inner_text() == "The answer is B."
    context.close()


# What goes on beside a phone's screen says so, without a script.

WIDE_CODE = """(node) => ({ wide: node.scrollWidth > node.clientWidth + 20,
  seen: node.checkVisibility(), height: node.clientHeight })"""


def shades(page, code):
    """How far the colour at both ends of a line without text is from that in its middle."""
    code.evaluate("node => node.scrollIntoView({ block: 'center' })")
    area = code.bounding_box()
    line = {"x": area["x"], "y": area["y"] + 5, "width": area["width"], "height": 2}
    found = Image.open(io.BytesIO(page.screenshot(clip=line))).convert("RGB")
    row = np.asarray(found, float)[0]
    return [float(np.abs(row[k] - row[len(row) // 2]).max()) for k in (3, -4)]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.xdist_group("recipes")
def test_code_that_goes_on_has_a_shade_where_it_does(chromium, theme):
    seen = visit(chromium, HTML / "book" / "recipes.html", color_scheme=theme)
    page = seen.page
    page.set_viewport_size(PHONE)
    blocks = page.locator("article div.highlight pre").all()
    about = [code.evaluate(WIDE_CODE) for code in blocks]
    shown = [k for k, each in enumerate(about) if each["seen"] and 40 < each["height"] < 600]
    wide = [blocks[k] for k in shown if about[k]["wide"]][:3]
    narrow = [blocks[k] for k in shown if not about[k]["wide"]][:3]
    assert len(wide) == 3
    assert narrow
    for code in wide:
        left, right = shades(page, code)
        assert left < 2
        assert right > 20
        code.evaluate("node => node.scrollLeft = (node.scrollWidth - node.clientWidth) / 2")
        if code.evaluate("node => node.scrollLeft") > 45:
            assert min(shades(page, code)) > 20
        code.evaluate("node => node.scrollLeft = node.scrollWidth")
        left, right = shades(page, code)
        assert right < 2
    for code in narrow:
        assert max(shades(page, code)) < 2
    seen.page.context.close()


# A frame of an explorer.

# A slider goes through its range. What is asked for meanwhile has the page laid out anew each time.
ASKED = """(root) => {
  const asked = [];
  const watch = (kind, name) => {
    const found = Object.getOwnPropertyDescriptor(kind.prototype, name);
    const told = found.get ? "get" : "value", real = found[told];
    found[told] = function (...given) { asked.push(name); return real.apply(this, given); };
    Object.defineProperty(kind.prototype, name, found);
    return () => Object.defineProperty(kind.prototype, name, { ...found, [told]: real });
  };
  const watched = [
    [Element, "clientWidth"], [Element, "clientHeight"], [Element, "scrollWidth"],
    [Element, "scrollHeight"], [Element, "getBoundingClientRect"], [HTMLElement, "offsetWidth"],
    [HTMLElement, "offsetHeight"], [SVGGraphicsElement, "getBBox"],
  ].map(([kind, name]) => watch(kind, name));
  const slider = root.querySelector("input[type=range]");
  const behind = [...root.querySelectorAll(".igr-plot svg > g > .igr-level")];
  for (let k = 0; k <= 20; k++) {
    slider.value = +slider.min + ((slider.max - slider.min) * k) / 20;
    slider.dispatchEvent(new Event("input"));
  }
  watched.forEach((end) => end());
  return { asked, behind: behind.length, kept: behind.filter((node) => node.isConnected).length };
}"""
BEHIND = {"step": 1, "loss": 1, "catapult": 1, "dial": 4}


def test_a_frame_asks_for_no_place_and_draws_no_level_lines_anew(quiet):
    name, box = quiet
    if name in ("sweep", "ellipse"):
        assert box.locator("input[type=range]").count() == 0
        return
    reset(box)
    found = box.evaluate(ASKED)
    assert found["asked"] == []
    assert found["kept"] >= BEHIND.get(name, 0)
