"""Whether flatness explains accuracy, on records in which it is known what does."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.records import record, unit
from scipy import stats

from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts import describe_flatness, judge_flatness
from igrlib.experiments.verdicts import flatness as fl
from igrlib.experiments.verdicts.ratios import Ratio
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.trends import Tails

RATES, MUS = (0.1, 0.05, 0.025), (0.0, 0.01, 0.03)
LEVEL = Thresholds(level=0.1)


def swept(*, by_flatness=0.0, by_h=0.0, by_mu=0.0, spread=0.0, mus=MUS, flat=1.0, seeds=range(8)):
    """λ_max halves with each doubling of h and by 50·μ halvings, and the slope by half of that.

    Accuracy is `by_flatness` points for each halving of λ_max, and `by_h` for each doubling of h
    and `by_mu` for each halving by μ besides.
    """
    units = []
    for width in (50, 100):
        one = unit(width, tuple(seeds), rates=RATES, mus=mus)
        h, mu, steps = (one.arrays[n] for n in ("learning_rate", "mu", "gradient_step"))
        rng = np.random.default_rng(width)
        halvings = flat * (np.log2(h / 0.025) + 50 * mu + spread * rng.normal(size=len(h)))
        points = by_flatness * halvings + by_h * np.log2(h / 0.025) + by_mu * 50 * mu
        points += spread * rng.normal(size=len(h)) + one.arrays["seed"]
        one.arrays["crossing_lambda_max"] = (8 * 2.0**-halvings)[:, None] * np.ones(4)
        squared = one.arrays["train_squared_gradient"] * 2.0 ** -halvings[:, None]
        one.arrays["train_squared_gradient"] = squared
        one.arrays["score_step"] = steps
        one.arrays["test_accuracy"] = (0.8 + points / 100)[:, None] * np.ones(len(steps))
        units.append(one)
    return replace(record(*units), expected=tuple(one.name for one in units))


def judged(**how):
    return judge_flatness(swept(**how), "sgd", thresholds=LEVEL)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"by_flatness": 0.3}, "explains"),
        ({"by_flatness": 0.2, "by_h": 0.4}, "explains in part"),
        ({"by_flatness": 0.2, "by_mu": 0.4}, "explains in part"),
        ({"by_h": 0.3}, "association only"),
        ({"by_flatness": -0.3, "by_h": 0.6}, "association only"),
        ({"by_mu": 0.3}, "of the penalty only"),
        ({}, "does not explain"),
        ({"by_flatness": -0.3}, "does not explain"),
        ({"by_flatness": 0.3, "mus": (0.0,)}, "cannot tell"),
        ({"by_flatness": 3.0, "flat": 0.05}, "cannot tell"),
        ({"by_flatness": 0.1, "spread": 4.0}, "cannot tell"),
    ],
)
def test_the_word_is_that_of_what_accuracy_goes_by(how, word):
    how = {"spread": 0.001, **how}
    assert {one.word for one in judged(**how)} == {word}


def test_effects_are_points_per_halving():
    """Of the slope, whose halvings are half as many, twice as many points."""
    curvature, slope = judged(by_flatness=0.3, by_h=0.2)
    for one, times in ((curvature, 1), (slope, 2)):
        assert one.over_h.effect.value == pytest.approx(0.5 * times)
        assert one.over_mu.effect.value == pytest.approx(0.3 * times)
        assert one.over_h.halvings == pytest.approx(2 / times)
        assert one.over_mu.halvings == pytest.approx(1.5 / times)
        assert (one.over_h.cells, one.over_mu.cells) == (2 * 8 * 3, 2 * 8 * 9)
        # 16 blocks of three in order; 48 groups of three.
        assert one.over_h.p.rising == pytest.approx(6.0**-16)
        assert one.over_mu.p.rising == pytest.approx(6.0**-48)


def test_models_of_other_learning_rates_are_not_compared_over_mu():
    """Where h does everything and μ nothing to accuracy, the groups of one h see nothing."""
    found = judged(by_h=5.0)[0]
    assert found.over_mu.way == "no matter"
    assert found.over_mu.effect.value == pytest.approx(0.0, abs=1e-9)
    assert (found.over_h.way, found.over_h.effect.value) == ("better", pytest.approx(5.0))


def test_the_effect_is_that_of_a_regression_with_an_intercept_for_each_group():
    found = judged(by_flatness=0.3, spread=0.5)[0].over_h
    rows = []
    for one in swept(by_flatness=0.3, spread=0.5).units.values():
        arrays = one.arrays
        for seed in range(8):
            here = (arrays["seed"] == seed) & (arrays["mu"] == 0)
            x = -np.log2(arrays["crossing_lambda_max"][here, 0])
            y = 100 * arrays["test_accuracy"][here, 0]
            rows.append((x, y))
    design = np.zeros((48, 17))
    for k, (x, _) in enumerate(rows):
        design[3 * k : 3 * k + 3, 0] = x
        design[3 * k : 3 * k + 3, k + 1] = 1
    y = np.concatenate([y for _, y in rows])
    slope = np.linalg.lstsq(design, y, rcond=None)[0]
    assert found.effect.value == pytest.approx(slope[0])
    # The sandwich over blocks, with Student's quantile of 15 and the correction 16/15.
    residuals = y - design @ slope
    centred = np.concatenate([x - x.mean() for x, _ in rows])
    scores = (centred * residuals).reshape(16, 3).sum(1)
    error = np.sqrt(16 / 15 * (scores**2).sum()) / (centred @ centred)
    reach = stats.t.ppf(0.99, 15) * error
    np.testing.assert_allclose(found.effect.interval, slope[0] + np.array([-reach, reach]))


def test_blocks_that_a_side_lacks_and_losses_that_are_not_recorded():
    made = swept(by_flatness=0.3, seeds=(0, 1))
    one = next(iter(made.units.values()))
    one.arrays["crossing_lambda_max"][one.arrays["seed"] == 0] = np.nan
    found = judge_flatness(made, "sgd", thresholds=LEVEL)
    assert [part.over_h.effect.blocks for part in found] == [3, 4]
    assert [part.over_h.way for part in found] == ["cannot tell", "better"]
    # 0.05 is no level at which λ_max was measured.
    found = judge_flatness(made, "sgd", thresholds=Thresholds(level=0.05))
    assert [part.over_h.effect.blocks for part in found] == [0, 4]
    assert found[0].reasons == (Reason("silent", ("h", "μ")),)


def association(value, interval, way):
    return fl.Association(Ratio(value, interval, 8), Tails(1, 1), 1.0, 24, 8, way)


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        ((0.4, (0.3, 0.5), "better"), (0.4, (0.3, 0.5), "better"), "explains"),
        ((0.4, (0.3, 0.5), "better"), (0.79, (0.4, 1.2), "better"), "explains"),
        ((0.4, (0.3, 0.5), "better"), (0.81, (0.4, 1.2), "better"), "explains in part"),
        ((0.81, (0.4, 1.2), "better"), (0.4, (0.3, 0.5), "better"), "explains in part"),
        ((0.4, (0.3, 0.5), "better"), (0.7, (0.6, 0.8), "better"), "explains in part"),
        ((0.7, (0.6, 0.8), "better"), (0.4, (0.3, 0.5), "better"), "explains in part"),
        ((0.4, None, "better"), (0.4, (0.3, 0.5), "better"), "explains in part"),
        ((0.4, (0.3, 0.5), "better"), (0.0, (-0.01, 0.01), "no matter"), "association only"),
        ((0.4, (0.3, 0.5), "better"), (-0.4, (-0.5, -0.3), "worse"), "association only"),
        ((0.0, (-0.01, 0.01), "no matter"), (0.4, (0.3, 0.5), "better"), "of the penalty only"),
        ((-0.4, (-0.5, -0.3), "worse"), (0.4, (0.3, 0.5), "better"), "of the penalty only"),
        ((-0.4, (-0.5, -0.3), "worse"), (0.0, (-0.01, 0.01), "no matter"), "does not explain"),
        ((0.4, (0.3, 0.5), "better"), (0.1, (-1.0, 1.2), "cannot tell"), "cannot tell"),
        ((0.1, (-1.0, 1.2), "cannot tell"), (0.4, (0.3, 0.5), "better"), "cannot tell"),
    ],
)
def test_rules_of_the_claim(one, other, word):
    found = fl.explanation_of(association(*one), association(*other), fl.FlatnessThresholds())
    assert found[0] == word


@pytest.mark.parametrize(
    ("value", "interval", "p", "halvings", "blocks", "seeds", "way"),
    [
        (0.05, (-1, 1), (1, 0.009), 0.5, 4, 1, "better"),
        (0.049, (-1, 1), (1, 0.009), 0.5, 4, 4, "cannot tell"),
        (0.05, (-1, 1), (1, 0.011), 0.5, 4, 4, "cannot tell"),
        (0.05, (-1, 1), (1, 0.009), 0.49, 4, 4, "cannot tell"),
        (0.05, (-1, 1), (1, 0.009), np.nan, 4, 4, "cannot tell"),
        (0.05, (-1, 1), (1, 0.009), 0.5, 3, 4, "cannot tell"),
        (-0.05, (-1, 1), (0.009, 1), 0.5, 4, 4, "worse"),
        (0.0, (-0.049, 0.049), (0.5, 0.5), 0.5, 4, 4, "no matter"),
        (0.0, (-0.049, 0.051), (0.5, 0.5), 0.5, 4, 4, "cannot tell"),
        (0.0, (-0.049, 0.049), (0.5, 0.5), 0.5, 4, 3, "cannot tell"),
        (0.0, None, (0.5, 0.5), 0.5, 4, 4, "cannot tell"),
    ],
)
def test_rules_of_a_way(value, interval, p, halvings, blocks, seeds, way):
    """0.05 points of the arm's thresholds, and half a halving."""
    effect = Ratio(value, interval, blocks)
    found = fl.way_of(effect, Tails(*p), halvings, seeds, Thresholds(), fl.FlatnessThresholds())
    assert found == way


def test_thresholds_were_fixed_before_the_record():
    assert fl.FlatnessThresholds() == fl.FlatnessThresholds(0.5, 2.0, 4, 4)
    assert list(fl.FLATNESS) == ["lambda_max", "slope"]


def test_arms_stand_together():
    made = swept(by_flatness=0.3, spread=0.1)
    one, other = made.units.values()
    name = other.name.replace("sgd", "wide")
    config = {**other.meta["unit_config"], "name": "wide"}
    apart = record(one, replace(other, name=name, meta={**other.meta, "unit_config": config}))
    apart = replace(apart, expected=tuple(apart.units))
    found = judge_flatness(apart, ("sgd", "wide"), thresholds=LEVEL)
    for pooled, whole in zip(found, judge_flatness(made, "sgd", thresholds=LEVEL), strict=True):
        assert (pooled.arm, pooled.word) == ("sgd with wide", whole.word)
        assert pooled.over_h.effect == whole.over_h.effect
        assert pooled.over_mu.effect == whole.over_mu.effect


def test_it_takes_a_whole_record():
    made = swept(by_flatness=0.3)
    assert {one.reasons for one in judge_flatness(None, "sgd")} == {(Reason("no record"),)}
    assert {one.reasons for one in judge_flatness(made, "gd")} == {(Reason("no arm", ("gd",)),)}
    waiting = replace(made, expected=(*made.expected, "sgd-n0800-b00032-s00-03"))
    for one in judge_flatness(waiting, "sgd", thresholds=LEVEL):
        assert (one.word, one.missing) == ("cannot tell", ("sgd-n0800-b00032-s00-03",))
        assert one.over_h.way == "better"


def test_a_verdict_in_words():
    curvature, slope = map(describe_flatness, judged(by_flatness=0.3, spread=0.001))
    assert curvature.sentence.startswith("Flatness as λ_max at E = 0.1: explains. Over h: better, ")
    assert "Over μ: better, +0.3" in curvature.sentence
    assert slope.sentence.startswith("Flatness as the slope ‖∇E‖ at E = 0.1: explains.")
    assert "E = 0.01 " in curvature.notes[0]
    alone = describe_flatness(judged(by_flatness=0.3, mus=(0.0,))[0])
    assert "The trend over μ cannot be told." in alone.sentence
    assert "Over μ:" not in alone.sentence
