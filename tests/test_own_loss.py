"""The explorer *your own loss*: its parser and its numbers against Python's parser and igrlib."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.formulas import NAMES, derivatives, random_formulas, twin, twin_gaps
from helpers.scripts import close, run

import explorers
import igrlib as ig

PRESETS = explorers.loss_explorer("fig-x").data["presets"]
named = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset["name"])


def test_random_formulas_and_their_derivatives():
    formulas = random_formulas(60)
    given = [[formula, p] for formula, p, _ in formulas]
    found = run("loss", "given.map(([f, p]) => IGR.formula.jet(f)(p))", given=given)
    for (formula, p, jet), got in zip(formulas, found, strict=True):
        np.testing.assert_allclose(got, jet, rtol=1e-9, atol=1e-9, err_msg=f"{formula} at {p}")


def test_every_name_is_in_some_random_formula():
    text = " ".join(formula for formula, _, _ in random_formulas(60))
    assert set(NAMES) - set(re.findall(r"[a-z]+", text)) == set()
    assert set(run("loss", "Object.keys(IGR.formula.FUNCTIONS)")) | {"pi", "e"} == set(NAMES)


@named
def test_the_derivatives_of_the_examples(preset):
    found = run("loss", "IGR.formula.jet(p.formula)(p.start)", p=preset)
    close(found, derivatives(twin(preset["formula"]), preset["start"]), 1e-12)


COMPUTED = "IGR.loss.compute(IGR.formula.jet(state.formula), state)"


@named
def test_all_numbers_of_the_examples(preset):
    start, h, loss = preset["start"], preset["h"], twin(preset["formula"])
    found, at = run("loss", COMPUTED, state=preset), jnp.array(start)
    close(found["E"], loss(at))
    close(found["gradient"], jax.grad(loss)(at))
    close(found["R"], ig.implicit_gradient_regularizer(loss)(at))
    close(found["modifiedLoss"], ig.modified_loss(loss, h)(at))
    close(found["f1"], ig.euler_corrections(ig.gradient_field(loss), 1)(at)[1])
    close(found["sharpness"], jnp.linalg.eigvalsh(jax.hessian(loss)(at))[-1])
    close(found["points"], ig.gradient_descent(loss, at, h, 20).params)
    assert found["diverged"] == 0
    sizes = h * 0.5 ** np.arange(8)
    table = np.array(found["table"])
    close(table[:, 0], sizes)
    longer = [(0.0, 20 * h), (h / 4, 20 * h)]
    gaps, (steps, flow, modified), ends = twin_gaps(loss, start, sizes, longer)
    np.testing.assert_allclose(table[:, 1:], gaps, rtol=1e-9, atol=1e-11)
    one = found["one"]
    close(one["gap"], gaps[0])
    close(one["end"], steps[0])
    close([one["flow"][-1], one["modified"][-1]], [flow[0], modified[0]])
    orders = [ig.convergence_order(sizes, column) for column in gaps.T]
    np.testing.assert_allclose(found["orders"], orders, atol=1e-4)
    np.testing.assert_allclose(orders, [2, 3], atol=0.1)
    assert all(path["arrived"] for path in found["paths"])
    close([path["points"][-1] for path in found["paths"]], ends, 1e-6)


def test_it_opens_with_the_orders_that_the_chapter_prints():
    chapter = (Path(__file__).parent.parent / "book/theorem.ipynb").read_text("utf-8")
    printed = re.findall(r"(?:gradient|modified) flow\s+one step ([\d.]+)", chapter)
    found = run("loss", COMPUTED, state=PRESETS[0])["orders"]
    assert [f"{order:.2f}" for order in found] == printed


def test_one_step_and_both_flows_of_random_formulas():
    for formula, p, jet in random_formulas(4, seed=1):
        h = 0.05 / np.abs(jet[1:]).max()
        state = {"formula": formula, "start": p, "h": h}
        found = run("loss", COMPUTED, state=state)["one"]
        gaps, (steps, flow, modified), _ = twin_gaps(twin(formula), p, [h])
        for name, ends in (("flow", flow), ("modified", modified)):
            np.testing.assert_allclose(found[name][-1], ends[0], rtol=1e-9, err_msg=formula)
        close(found["end"], steps[0])
        close(found["gap"], gaps[0])


def test_the_order_is_that_of_igrlib():
    rng = np.random.default_rng(0)
    sizes, gaps = np.sort(rng.uniform(size=8)).tolist(), rng.uniform(size=8).tolist()
    found = run("loss", "IGR.loss.order(h, e)", h=sizes, e=gaps)
    assert found == pytest.approx(ig.convergence_order(sizes, gaps), rel=1e-12)
    kept = [(h, e) for h, e in zip(sizes, gaps, strict=True) if e > 0.3]
    found = run("loss", "IGR.loss.order(h, e, 0.3)", h=sizes, e=gaps)
    assert found == pytest.approx(ig.convergence_order(*zip(*kept, strict=True)), rel=1e-12)
    assert run("loss", "IGR.loss.order([1, 2, 3], [1, 1, 0])") is None


# Formula: words of the message, and the characters that it marks.
REFUSED = {
    "": ("Type a formula", ""),
    "a + ": ("ends where a value is wanted", ""),
    "a + * b": ("A value is wanted before *", "*"),
    "^2": ("A value is wanted before ^", "^"),
    "(a + b": ("not closed", "("),
    "sin(a": ("not closed", "("),
    "a*(b - (a)": ("not closed", "("),
    "a)": ("No parenthesis was opened", ")"),
    "()": ("A value is wanted before this parenthesis", ")"),
    "2a": ("Write * between two factors: …2*a…", "a"),
    "a b": ("…a*b…", "b"),
    "2(a + b)": ("…2*(…", "("),
    "(a)(b)": ("…)*(…", "("),
    "3.1.4": ("…3.1*.4…", ".4"),
    "sin a": ("in parentheses: sin(…)", "sin"),
    "0,5*a": ("decimals have a point", ","),
    "sin(a, b)": ("takes one value", ","),
    "a²": ("Write ^2 for ²", "²"),
    "a $ b": ("“$” has no meaning", "$"),
    "a = b": ("“=” has no meaning", "="),
    "ab": ("Did you mean a*b?", "ab"),
    "A^2": ("Did you mean a?", "A"),
    "x^2": ("Did you mean a?", "x"),
    "1 + sine(b)": ("Did you mean sin?", "sine"),
    "ln(a)": ("Did you mean log?", "ln"),
    "a*sqr(b)": ("Did you mean sqrt?", "sqr"),
    "sofplus(a)": ("Did you mean softplus?", "sofplus"),
    "constructor(a)": ("“constructor” is unknown. The", "constructor"),
    "abs(a)": ("abs has a corner", "abs"),
    "a + |b|": ("has a corner", "|"),
    "relu(a)": ("take a smooth loss, such as softplus", "relu"),
    "ReLU(a)": ("has a corner", "ReLU"),
    "max(a, b)": ("max has a corner", "max"),
    "floor(b)": ("floor jumps", "floor"),
    "+".join(["a"] * 200): ("399 characters; 300 are the most", "+".join(["a"] * 50)),
}


def test_what_cannot_be_parsed_is_marked():
    expression = """formulas.map((text) => {
      try { IGR.formula.parse(text); return null; }
      catch (p) {
        return p instanceof IGR.formula.Wrong ? [p.message, text.slice(p.from, p.to)] : String(p);
      }
    })"""
    found = run("loss", expression, formulas=list(REFUSED))
    for (text, (words, marked)), got in zip(REFUSED.items(), found, strict=True):
        assert got is not None, text
        assert words in got[0], (text, got)
        assert got[1] == marked, (text, got)


# Formula: its value at (a, b) = (3, 5), by hand.
READ = {
    "2^3^2": 512,
    "-2^2": -4,
    "(-2)^2": 4,
    "2^-1": 0.5,
    "-a^2": -9,
    "a - b - 1": -3,
    "b/a/5": 1 / 3,
    "a - -b": 8,
    "+a": 3,
    "2*a^2*b": 90,
    "a ** 2": 9,
    "a·b − a×2": 9,
    " ( a )+.5 ": 3.5,
    "1e1 + 2.e-1": 10.2,
    "a^0 + b^1": 6,
    "sqrt(0) + a": 3,
    "e^log(b)": 5,
    "a^b": 243,
}


def test_precedence_and_signs():
    found = run("loss", "formulas.map((f) => IGR.formula.jet(f)([3, 5]))", formulas=list(READ))
    close([jet[0] for jet in found], list(READ.values()))
    assert np.isfinite(np.array(found, float)).all()


SAID = {
    "Fitted over 8 halvings of h, the orders are 1.98 and 3.00": PRESETS[0],
    "nothing moves: the gradient is 0": {"formula": "(a*b - 1)^2/2", "start": [0, 0], "h": 0.1},
    "up to rounding: f₁ = 0 here.": {"formula": "a - 2*b", "start": [1, 1], "h": 0.1},
    "orders are 3.00 and 3.00; the": {"formula": "sin(a) + b/2", "start": [0, 1], "h": 0.1},
    "f₁ = 0 here: for one step": {"formula": "sin(a) + b/2", "start": [0, 1], "h": 0.1},
    "h is too small to see the gaps": {"formula": "a^2 + b", "start": [1, 1], "h": 1e-8},
    "unknown (the gaps are below": {"formula": "a^2 + b", "start": [1, 1], "h": 1e-4},
    "diverges: after": {"formula": "a^4 + b^2", "start": [2, 1], "h": 0.2},
    "make h smaller and fit again": {"formula": "a^2 + 3*b^2", "start": [1, 1], "h": 0.3},
    "The flow of E leaves": {"formula": "log(a) + b", "start": [0.1, 1], "h": 0.5},
    "The flow of Ẽ leaves": {"formula": "a + a^2.5", "start": [0.1, 1], "h": 0.0967},
    "Both flows leave": {"formula": "a + a^2.5", "start": [0.1, 1], "h": 0.5},
    "A flow leaves": {"formula": "log(a) + b", "start": [1, 1], "h": 0.05},
    "it is beyond a million, or E is not finite": {
        "formula": "log(a)",
        "start": [0.1, 1],
        "h": 0.5,
    },
    "E is not finite at the start (−1, 1)": {"formula": "log(a)", "start": [-1, 1], "h": 0.1},
    "E is 0, but its derivatives are not": {"formula": "a^1.5", "start": [0, 1], "h": 0.1},
}


@pytest.mark.parametrize("words", SAID)
def test_your_own_loss_says_what_there_is_to_see(words):
    said = run(
        "loss",
        f"((f) => f.problem ?? IGR.loss.sentence(state, f, IGR.stage.number))({COMPUTED})",
        state=SAID[words],
    )
    assert words in said
    assert not re.search("NaN|undefined|Infinity|–", said)


def test_an_address_holds_a_formula():
    state = {"formula": "exp(a)*b^2 + 1/(1 + a^2)", "start": [-0.25, 1e-3], "h": 0.05}
    may = "{formula: (text) => Boolean(IGR.formula.jet(text)), start: [-9, 9], h: [1e-9, 9]}"
    written = run("loss", f"IGR.address.write('loss', state, {may})", state=state)
    assert re.fullmatch(r"#loss:formula=[\w%.()*!'-]+;start=-0.25,0.001;h=0.05", written)
    program = f"IGR.address.read('loss', hash, state, {may})"
    assert run("loss", program, hash=written, state=state) == state
    by_hand = run("loss", program, hash="#loss:formula=a+b", state=state)
    assert by_hand == {"formula": "a+b"}


def test_the_slider_reaches_beyond_its_landmark():
    found = run("loss", "[8.08, 0.5, 123, 0, -3].map(IGR.loss.most)")
    assert found[3:] == [1, 1]
    for greatest, sharpness in zip(found[:3], (8.08, 0.5, 123), strict=True):
        assert 2.4 < greatest * sharpness < 2.7
