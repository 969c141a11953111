"""The verdict of the ladder, on records in which it is known which step a model is like."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.records import record, unit
from scipy import stats

from igrlib.experiments.schema import DIMENSIONS
from igrlib.experiments.table import table_of
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts import Contrast, describe_ladder, describe_together, judge_ladder
from igrlib.experiments.verdicts import ladder as ld
from igrlib.experiments.verdicts.ratios import Ratio
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.trends import Tails, Trend

LARGE = 0.1
RATES = tuple(LARGE / k for k in (1, 4, 16, 64))
LEVEL = Thresholds(level=0.1)
SLOPES = {"squared_gradient": -0.5, "lambda_max": -0.6, "accuracy": 0.3}
"""Per doubling of the step that a model is like: of logarithms, and in points."""


def like_edge(h, mu):
    """2 by the sharpness at the edge, the positive root of 2μh·c² + h·c − 2."""
    roots = np.roots([2 * mu * h, h, -2.0]) if mu else [2 / h]
    return 2 / max(roots)


def rungs(width, seeds, *, way=1.0, slopes=None, spread=0.0, factor=0.0, rates=RATES, arm="ladder"):
    """A unit whose models end like a plain step: `way` from the edge's to the regularizer's.

    On a scale of log h. `factor`: added to the logarithms of regularized models, and to accuracy.
    """
    slopes = {**SLOPES, **(slopes or {})}
    one = unit(width, seeds, arm=arm, rates=rates, mus=(0.0, 1.0))
    large = max(rates)
    h, with_mu = one.arrays["learning_rate"], one.arrays["mu"] > 0
    mu = np.where(with_mu, (large - h) / 4, 0.0)
    edge = np.array([like_edge(*pair) for pair in zip(h, mu, strict=True)])
    x = np.log2(edge) + way * np.log2((h + 4 * mu) / edge)
    rng = np.random.default_rng([7, width, *seeds])

    def ends(name):
        return slopes[name] * x + factor * with_mu + spread * rng.normal(size=len(h))

    base = one.arrays["train_squared_gradient"]
    steps = one.arrays["gradient_step"]
    lambda_max = np.exp(2 + ends("lambda_max"))[:, None]
    accuracy = 0.9 + ends("accuracy")[:, None] / 100
    one.arrays.update(
        {
            "mu": mu,
            "train_squared_gradient": base * np.exp(ends("squared_gradient"))[:, None],
            "crossing_lambda_max": np.broadcast_to(lambda_max, (len(h), 4)),
            "score_step": steps,
            "test_accuracy": np.broadcast_to(accuracy, (len(h), len(steps))),
        }
    )
    kept = ~(with_mu & (h == large))
    for name, values in one.arrays.items():
        if values.shape[:1] == kept.shape:
            one.arrays[name] = values[kept].copy()
    one.meta["marks"]["fitted"] = []
    return one


def ladder(*, widths=(50, 200), seeds=(0, 1, 2, 3), **how):
    units = [rungs(width, tuple(seeds), **how) for width in widths]
    return replace(record(*units), expected=tuple(one.name for one in units))


def judged(**how):
    return judge_ladder(ladder(**how), thresholds=LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "word"),
    [(1.0, "regularizer"), (0.0, "edge"), (0.5, "between"), (2.0, "neither"), (-1.0, "neither")],
)
def test_the_word_is_that_of_the_step_that_the_models_are_like(way, word):
    found = judged(way=way, spread=0.02)
    assert {one.word for one in found} == {word}
    for one in found:
        assert {rung.word for rung in one.rungs} == {word}
        assert one.whole.position.value == pytest.approx(way, abs=0.15)
        assert one.whole.position.blocks == 8
    reason = {2.0: "more than the regularizer", -1.0: "less than the edge"}.get(way)
    assert found[0].reasons == ((Reason(reason),) if reason else ())


def test_where_the_step_does_not_matter_the_predictions_are_the_same():
    nothing = dict.fromkeys(SLOPES, 0.0)
    for one in judged(slopes=nothing, spread=0.02):
        assert (one.word, one.reasons) == ("cannot tell", (Reason("same predictions"),))
    # And the penalty may do what neither says.
    for one in judged(slopes=nothing, factor=-0.6, spread=0.02):
        assert (one.word, one.reasons) == ("neither", (Reason("off both"),))


def test_noise_and_few_blocks_cannot_tell():
    assert {one.word for one in judged(spread=3.0)} == {"cannot tell"}
    few = judged(widths=(50,), seeds=(0, 1, 2))
    assert {one.reasons for one in few} == {(Reason("few whole blocks", ("4",)),)}


def test_differences_are_those_of_the_two_steps():
    """A quarter of h_L with the penalty is like 0.576·h_L, by the quadratic formula."""
    assert ld.edge_step(0.25, 0.75 / 4) == pytest.approx((0.25 + np.sqrt(0.0625 + 0.75)) / 2)
    assert ld.edge_step(0.3, 0.0) == 0.3
    for h, mu in ((0.01, 0.02), (0.1, 1e-4), (1e-3, 1.0)):
        assert ld.edge_step(h, mu) == pytest.approx(like_edge(h, mu), rel=1e-9)
    squared, curvature, accuracy = judged(way=0.25)
    for one, slope in ((squared, -0.5), (curvature, -0.6)):
        for rung, k in zip(one.rungs, (4, 16, 64), strict=True):
            edge = np.log2(like_edge(LARGE / k, LARGE * (1 - 1 / k) / 4) / LARGE)
            expected = 100 * np.expm1(slope * edge * np.array([0.75, 1.0]))
            found = [rung.kept.difference.effect, rung.edge.difference.effect]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            plain = 100 * np.expm1(-slope * np.log2(k))
            assert rung.plain.difference.effect == pytest.approx(plain)
            assert rung.edge_share == pytest.approx(1 + edge / np.log2(k))
            assert rung.share.value == pytest.approx(1 + 0.75 * edge / np.log2(k))
            assert rung.like == pytest.approx(LARGE * 2**edge)
    for rung, k in zip(curvature.rungs, (4, 16, 64), strict=True):
        # λ_max = c of h_s beside c of h_L = 2/h_L.
        c = max(np.roots([LARGE * (1 - 1 / k) / 2 * LARGE / k, LARGE / k, -2.0]))
        assert rung.bound == pytest.approx(100 * (c * LARGE / 2 - 1))
    assert {rung.bound for rung in (*squared.rungs, *accuracy.rungs)} == {None}
    assert accuracy.unit == "points"
    edge = np.log2(like_edge(LARGE / 4, 0.75 * LARGE / 4) / LARGE)
    assert accuracy.rungs[0].kept.difference.effect == pytest.approx(0.3 * edge * 0.75)


def test_as_h_falls():
    """Along the rungs ‖∇E‖² stays as it is, or goes with the plain step of the same edge."""
    stays, goes = judged(way=1.0)[0], judged(way=0.0)[0]
    assert stays.falling.effect == pytest.approx(0.0, abs=1e-9)
    x = np.log2([like_edge(LARGE / k, LARGE * (1 - 1 / k) / 4) for k in (1, 4, 16, 64)])
    slope = np.polyfit(-np.log2([1, 4, 16, 64]), -0.5 * x, 1)[0]
    for one in (goes.falling, goes.edge_falling, stays.edge_falling):
        assert one.effect == pytest.approx(100 * np.expm1(slope))
    assert goes.plain_falling.effect == pytest.approx(100 * np.expm1(-0.5))


def test_the_edge_is_read_between_plain_neighbours():
    """Of a plain curve that is bent, the chord between the two nearest steps."""
    one = rungs(50, (0, 1, 2, 3))
    h, mu = one.arrays["learning_rate"], one.arrays["mu"]
    bent = {RATES[0]: 0.0, RATES[1]: 4.0, RATES[2]: 5.0, RATES[3]: 5.5}
    ends = np.array([bent[k] if m == 0 else 0.0 for k, m in zip(h.tolist(), mu, strict=True)])
    one.arrays["crossing_lambda_max"] = np.exp(ends)[:, None] * np.ones(4)
    made = replace(record(one), expected=(one.name,))
    found = judge_ladder(made, thresholds=LEVEL)[1]
    for rung, (low, high) in zip(found.rungs, ((1, 0), (1, 0), (2, 1)), strict=True):
        share = np.log(rung.like / RATES[low]) / np.log(RATES[high] / RATES[low])
        expected = bent[RATES[low]] + share * (bent[RATES[high]] - bent[RATES[low]])
        assert rung.edge.difference.effect == pytest.approx(100 * np.expm1(expected))


def test_a_model_that_is_missing_takes_its_rung_of_the_block():
    one, other = rungs(50, (0, 1, 2, 3)), rungs(200, (0, 1, 2, 3))
    h, mu = one.arrays["learning_rate"], one.arrays["mu"]
    gone = (one.arrays["seed"] == 2) & (h == RATES[3]) & (mu > 0)
    one.arrays["diverged"][gone] = 3
    made = replace(record(one, other), expected=(one.name, other.name))
    found = judge_ladder(made, thresholds=LEVEL)[0]
    assert [rung.position.blocks for rung in found.rungs] == [8, 8, 7]
    assert found.whole.position.blocks == 8
    assert {width: part.position.blocks for width, part in found.widths.items()} == {50: 4, 200: 4}


@pytest.mark.parametrize(
    ("most", "few", "word"),
    [(1.0, 0.45, "regularizer"), (0.0, 0.55, "edge"), (0.4, -0.1, "between")],
)
def test_a_width_that_lies_elsewhere_forbids_the_word(most, few, word):
    one, other = rungs(50, range(8), way=most), rungs(200, (0, 1), way=few)
    made = replace(record(one, other), expected=(one.name, other.name))
    found = judge_ladder(made, thresholds=LEVEL)[0]
    assert found.whole.word == word
    assert (found.word, found.reasons) == ("cannot tell", (Reason("widths differ"),))


@pytest.mark.slow
def test_arms_of_other_widths_stand_together():
    """As widths of one arm do; the same block twice, other steps or thresholds cannot."""
    how = {"way": 0.0, "spread": 0.1}
    one, wide = rungs(50, (0, 1, 2, 3), **how), rungs(200, (0, 1, 2, 3), arm="wide", **how)
    made = record(one, wide)
    made = replace(made, expected=tuple(made.units))
    found = judge_ladder(made, ("ladder", "wide"), thresholds=LEVEL)
    for pooled, whole in zip(found, judged(**how), strict=True):
        assert pooled.arm == "ladder with wide"
        assert (pooled.word, pooled.whole.position) == (whole.word, whole.whole.position)
        np.testing.assert_array_equal(
            pooled.standing["edge"]["kept"], whole.standing["edge"]["kept"]
        )
        assert set(pooled.widths) == {50, 200}
        assert pooled.levels == whole.levels
    few = judge_ladder(
        replace(made, expected=(*made.expected, "wide-n0800-b00032-s00-03")),
        ("ladder", "wide"),
        thresholds=LEVEL,
    )
    assert few[0].missing == ("wide-n0800-b00032-s00-03",)
    assert judge_ladder(made, ("ladder", "gd"))[0].reasons == (Reason("no arm", ("gd",)),)
    same, other = rungs(50, (3, 4), arm="same"), rungs(100, (0,), arm="other", rates=RATES[:3])
    made = record(one, same, other)
    made = replace(made, expected=tuple(made.units))
    for arm, words in (("same", "without a block in common"), ("other", "the same learning_rate")):
        found = judge_ladder(made, ("ladder", arm), thresholds=LEVEL)[0]
        assert found.word == "cannot tell"
        assert words in describe_ladder(found).sentence


def test_it_takes_a_whole_record_with_a_ladder():
    made = ladder()
    assert {one.reasons for one in judge_ladder(None)} == {(Reason("no record"),)}
    assert {one.reasons for one in judge_ladder(made, "steps")} == {(Reason("no arm", ("steps",)),)}
    unsaid = judge_ladder(replace(made, expected=None), thresholds=LEVEL)
    assert {one.reasons for one in unsaid} == {(Reason("nobody has said"),)}
    waiting = replace(made, expected=(*made.expected, "ladder-n0800-b00032-s00-03"))
    for one in judge_ladder(waiting, thresholds=LEVEL):
        assert one.word == "cannot tell"
        assert one.missing == ("ladder-n0800-b00032-s00-03",)
    plain = record(unit(50, (0, 1), rates=RATES))
    found = judge_ladder(replace(plain, expected=tuple(plain.units)), "sgd", thresholds=LEVEL)
    assert "h_L" in describe_ladder(found[0]).sentence
    assert {one.word for one in found} == {"cannot tell"}


def test_where_the_models_stand_is_told():
    """By the made-up law λ_max is e² at a step of 1, and falls by e^−0.6 with each doubling."""
    one = rungs(50, (0, 1, 2, 3))
    h, mu = one.arrays["learning_rate"], one.arrays["mu"]
    measured = "crossing_batch_sharpness" in DIMENSIONS
    if measured:
        one.arrays["crossing_batch_sharpness"] = (3 * h + mu)[:, None] * np.ones(4)
    found = judge_ladder(replace(record(one), expected=(one.name,)), thresholds=LEVEL)[0].standing
    steps = np.array(RATES[1:])
    mus, like = (LARGE - steps) / 4, np.full(3, LARGE)
    for kind, (k, m, x) in {
        "large": (np.array([LARGE]), 0.0, np.array([LARGE])),
        "kept": (steps, mus, like),
        "plain": (steps, 0.0, steps),
    }.items():
        curvature = np.exp(2 - 0.6 * np.log2(x))
        np.testing.assert_allclose(found["edge"][kind], k * curvature * (1 + 2 * m * curvature))
        expected = k * (3 * k + m)
        if measured:
            np.testing.assert_allclose(found["batch_sharpness"][kind], expected)
        assert found["time"][kind].shape == k.shape


def test_the_rungs_of_a_table():
    table = table_of(ladder(), "ladder")
    expected = [(h, (LARGE - h) / 4) for h in RATES[1:]]
    np.testing.assert_allclose(ld.rungs_of(table), expected)


def gap_of(effect, interval=(-1e9, -1e-9), observation="cannot tell"):
    trend = Trend(effect, interval, Tails(1, 1), np.zeros(8), np.arange(8), 16, relative=True)
    return Contrast(trend, observation)


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.6, 1.3), "regularizer"),
        ((0.9, 0.95), "regularizer"),
        ((1.05, 1.2), "regularizer"),
        ((0.49, 1.3), "cannot tell"),
        ((0.6, 1.51), "cannot tell"),
        ((-0.4, 0.4), "edge"),
        ((0.05, 0.2), "edge"),
        ((-0.2, -0.05), "edge"),
        ((-0.51, 0.3), "cannot tell"),
        ((-0.1, 1.1), "cannot tell"),
        ((0.3, 0.7), "between"),
        ((0.05, 0.95), "between"),
        ((0.55, 0.7), "between"),
        ((0.55, 0.99), "between"),
        ((1.26, 1.4), "neither"),
        ((1.24, 1.6), "cannot tell"),
        ((-3.0, -0.26), "neither"),
        ((-3.0, -0.24), "cannot tell"),
        (None, "cannot tell"),
    ],
)
def test_rules_of_the_word(interval, word):
    """The margin is a quarter of the way, and beyond half of it no interval may reach."""
    position = Ratio(0.0 if interval is None else float(np.mean(interval)), interval, 8)
    none = (gap_of(0.0), gap_of(0.0))
    assert ld.word_of(position, gap_of(50.0), none, 20.0, ld.LadderThresholds())[0] == word
    few = position._replace(blocks=3)
    assert ld.word_of(few, gap_of(50.0), none, 20.0, ld.LadderThresholds())[0] == "cannot tell"
    near = ld.word_of(position, gap_of(-19.0), none, 20.0, ld.LadderThresholds())
    assert near == ("cannot tell", (Reason("same predictions"),))
    seedless = ld.word_of(position, gap_of(50.0, None), none, 20.0, ld.LadderThresholds())
    assert seedless[0] == "cannot tell"


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (("larger", "larger"), "neither"),
        (("smaller", "smaller"), "neither"),
        (("larger", "smaller"), "cannot tell"),
        (("larger", "cannot tell"), "cannot tell"),
        (("the same", "the same"), "cannot tell"),
    ],
)
def test_off_both_predictions_is_off_the_same_way(seen, word):
    off = tuple(gap_of(30.0, observation=one) for one in seen)
    position = Ratio(1.0, None, 8)
    assert ld.word_of(position, gap_of(1.0), off, 20.0, ld.LadderThresholds())[0] == word


def test_thresholds_were_fixed_before_the_record():
    assert ld.LadderThresholds() == ld.LadderThresholds(0.25, 0.5, 4, 4, 20.0, 20.0, 0.1)
    assert list(ld.MEASURES) == ["squared_gradient", "lambda_max", "accuracy"]


def test_several_words_together():
    assert ld.agreed(["edge", "cannot tell", "edge"]) == "edge"
    assert ld.agreed(["cannot tell"]) == "cannot tell"
    assert ld.agreed([]) == "cannot tell"
    assert ld.agreed(["edge", "regularizer", "cannot tell"]) == "they differ"


@pytest.mark.slow
def test_ladders_together_in_words():
    several = (*judged(way=0.0, spread=0.02), *judged(way=0.0, spread=3.0))
    words = describe_together(several)
    assert words.sentence == "Together: edge; 3 of 6 can tell."
    assert words.notes == ("‖∇E‖²: edge.", "λ_max: edge.", "Test accuracy: edge.")
    other = tuple(replace(one, arm="gelu") for one in judged(way=1.0, spread=0.02))
    words = describe_together((*several, *other))
    assert words.sentence == "Together: they differ; 6 of 9 can tell."
    assert words.notes[3:] == ("ladder: edge.", "gelu: regularizer.")


def test_the_interval_of_a_position_is_where_the_residual_is_not_told_from_none():
    """Fieller's: at its ends Student's t of kept − edge − q·(large − edge) is critical."""
    found = judged(way=0.3, spread=0.3, widths=(50,), seeds=range(8))[0]
    table = table_of(ladder(way=0.3, spread=0.3, widths=(50,), seeds=range(8)), "ladder")
    steps = ld.rungs_of(table)
    values = ld._values(ld.MEASURES["squared_gradient"][0](table, 0.1), steps, LARGE)
    large, kept, _, edge = (one.values.mean(1) for one in values.every)
    for end in found.whole.position.interval:
        residual = kept - edge - end * (large - edge)
        assert stats.ttest_1samp(residual, 0.0).pvalue == pytest.approx(0.02, rel=1e-6)


def test_a_verdict_in_words():
    squared, curvature, accuracy = map(describe_ladder, judged(way=0.0, spread=0.02))
    assert squared.sentence.startswith("‖∇E‖² at E = 0.1: edge. From the edge's prediction, 0, to")
    assert "h = 0.025 with μ +" in squared.sentence
    assert "where it binds +73.70 %" in curvature.sentence
    assert "points" in accuracy.sentence
    assert "%;" not in accuracy.sentence.partition("Beside")[2]
    notes = "\n".join(curvature.notes)
    for part in ("by the edge 0.60", "At width 200: edge", "Per doubling of h", "Median h·λ_max"):
        assert part in notes
    assert "At other losses: E = 0.01 " in notes
