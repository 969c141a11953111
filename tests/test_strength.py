"""The law of the strength, on records in which the power of μ is known, and on a quadratic."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.records import record, unit

from igrlib.experiments.table import table_of
from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts import Contrast, describe_strength, judge_strength
from igrlib.experiments.verdicts import strength as st
from igrlib.experiments.verdicts.ratios import Ratio
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.trends import Tails, Trend

MUS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
LEVEL = Thresholds(level=0.1)


def strengths(*, power=1.0, most=0.4, spread=0.0, curvature=0.0, seeds=range(8), mus=MUS):
    """log ‖∇E‖² falls by `most`·(μ/μ_max)^power; h·λ_max(1 + 2μλ_max) is `curvature` at μ = 0."""
    one = unit(50, tuple(seeds), arm="strength", rates=(0.05,), mus=mus, full_batch=True)
    mu = one.arrays["mu"]
    rng = np.random.default_rng(3)
    fall = -most * (mu / max(mus)) ** power + spread * rng.normal(size=len(mu))
    one.arrays["train_squared_gradient"] = (
        one.arrays["train_squared_gradient"] * np.exp(fall)[:, None]
    )
    one.arrays["crossing_lambda_max"] = np.full((len(mu), 4), curvature / 0.05)
    return replace(record(one), expected=(one.name,))


def judged(**how):
    how = {"spread": 1e-4, "curvature": 0.2, **how}
    return judge_strength(strengths(**how), thresholds=LEVEL)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({}, "in proportion"),
        ({"power": 0.5}, "another law"),
        ({"power": 1.5}, "another law"),
        ({"most": 0.0}, "no effect"),
        ({"spread": 0.05}, "cannot tell"),
        ({"seeds": (0, 1, 2)}, "cannot tell"),
        ({"mus": (0.0, 1e-3, 1e-2)}, "cannot tell"),
    ],
)
def test_the_law_is_the_power_of_mu(how, word):
    assert judged(**how).word == word


def test_effects_exponent_and_slope():
    found = judged(power=0.5, spread=0.0)
    expected = 100 * np.expm1(-0.4 * np.sqrt(np.array(MUS[1:]) / 1e-2))
    np.testing.assert_allclose([one.difference.effect for one in found.effects], expected)
    assert found.exponent.value == pytest.approx(0.5)
    assert found.slope.value == pytest.approx(-0.4 * 0.1 / 1e-4)
    assert judged(spread=0.0).slope.value == pytest.approx(-0.4 / 1e-2)
    assert found.learning_rate == 0.05
    np.testing.assert_array_equal(found.mu, MUS[1:])


def test_beyond_first_order_nothing_counts():
    """A fall of 2 at the largest μ: of 0.2 and 0.6 at a tenth and at three tenths of it."""
    found = judged(most=2.0)
    assert found.within.tolist() == [True, True, True, False, False]
    assert found.exponent.value == pytest.approx(1.0, abs=0.05)
    # And what is too faint: falls of 0.004 and 0.012 come first.
    assert judged(most=0.4).within.tolist() == [False, True, True, True, True]


def test_the_edge_is_told_beside_the_word():
    near, far, unknown = judged(curvature=0.6), judged(curvature=0.2), judged(curvature=np.nan)
    assert near.reasons == unknown.reasons == (Reason("edge near"),)
    assert far.reasons == ()
    assert {near.word, far.word, unknown.word} == {"in proportion"}
    curvature = 0.2 / 0.05
    np.testing.assert_allclose(far.edge, 0.2 * (1 + 2 * np.array(MUS) * curvature))
    assert far.largest_edge == pytest.approx(0.2 * (1 + 2 * MUS[-1] * curvature))
    # Of strengths that do not count it does not matter.
    beyond = judged(most=2.0)
    assert beyond.largest_edge == pytest.approx(0.2 * (1 + 2 * MUS[3] * curvature))


def test_the_edge_at_any_step_counts():
    table = table_of(strengths(curvature=0.2), "strength")
    along = np.full((8, 6, 3), 4.0)
    along[:, 0, 1] = 14.0
    step = ("block", "treatment", "curvature_step")
    assert st._largest_edge(
        table.drop_dims("curvature_step").assign(lambda_max=(step, along))
    ) == pytest.approx(0.7)


def test_the_interval_of_the_exponent_is_the_jackknifes():
    found = judged(power=0.5, spread=0.01)
    one = next(iter(strengths(power=0.5, spread=0.01).units.values()))
    squared = np.log(one.arrays["train_squared_gradient"][:, 1]).reshape(8, 6)
    apart = squared[:, 1:] - squared[:, :1]

    def power(rows):
        return np.polyfit(np.log(MUS[1:]), np.log(-rows.mean(0)), 1)[0]

    values = [power(np.delete(apart, b, 0)) for b in range(8)]
    error = np.sqrt(7 * np.var(values))
    assert found.exponent.value == pytest.approx(power(apart))
    assert np.ptp(found.exponent.interval) / 2 == pytest.approx(2.997952 * error, rel=1e-5)


def test_on_a_quadratic_the_fall_is_that_of_the_variance_of_the_eigenvalues():
    """What the module says of the first order: d log ‖∇E‖²/ds = −4t·Var(λ) at equal E."""
    eigenvalues, start = np.array([1.0, 0.4, 0.05]), np.array([1.0, -2.0, 3.0])

    def at(s, time):
        theta = start * np.exp(-eigenvalues * (1 + 2 * s * eigenvalues) * time)
        return theta @ (eigenvalues * theta) / 2, eigenvalues * theta

    loss, gradient = at(0.0, 3.0)
    weights = gradient**2 / (gradient @ gradient)
    variance = weights @ eigenvalues**2 - (weights @ eigenvalues) ** 2

    def log_at_loss(s):
        low, high = 0.0, 6.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if at(s, middle)[0] > loss else (low, middle)
        return np.log(np.sum(at(s, low)[1] ** 2))

    slope = (log_at_loss(1e-5) - log_at_loss(-1e-5)) / 2e-5
    assert slope == pytest.approx(-4 * 3.0 * variance, rel=1e-6)


def effect(observation):
    trend = Trend(-30.0, None, Tails(1, 1), np.zeros(8), np.arange(8), 16, relative=True)
    return Contrast(trend, observation)


@pytest.mark.parametrize(
    ("interval", "observation", "word"),
    [
        ((0.86, 1.14), "smaller", "in proportion"),
        ((0.86, 0.95), "smaller", "in proportion"),
        ((0.84, 1.1), "smaller", "cannot tell"),
        ((0.84, 0.99), "smaller", "another law"),
        ((1.01, 1.16), "smaller", "another law"),
        ((0.9, 1.16), "smaller", "cannot tell"),
        (None, "smaller", "cannot tell"),
        ((0.9, 1.1), "the same", "no effect"),
    ],
)
def test_rules_of_the_law(interval, observation, word):
    exponent = Ratio(1.0, interval, 8)
    limits = st.StrengthThresholds()
    assert st.law_of(exponent, effect(observation), limits)[0] == word
    few = exponent._replace(blocks=3)
    expected = "no effect" if observation == "the same" else "cannot tell"
    assert st.law_of(few, effect(observation), limits)[0] == expected


def test_thresholds_were_fixed_before_the_record():
    assert st.StrengthThresholds() == st.StrengthThresholds(0.15, 0.5, 0.01, 5.0, 3, 4, 4, 0.5)


def test_it_takes_a_whole_record_with_strengths():
    made = strengths()
    assert judge_strength(None).reasons == (Reason("no record"),)
    assert judge_strength(made, "mu").reasons == (Reason("no arm", ("mu",)),)
    waiting = replace(made, expected=(*made.expected, "strength-n0800-b00032-s00-03"))
    found = judge_strength(waiting, thresholds=LEVEL)
    assert (found.word, found.missing) == ("cannot tell", ("strength-n0800-b00032-s00-03",))
    plain = record(unit(50, (0, 1), rates=(0.05,)))
    found = judge_strength(replace(plain, expected=tuple(plain.units)), "sgd", thresholds=LEVEL)
    assert "must have models with μ = 0 and with μ > 0" in describe_strength(found).sentence


def test_a_verdict_in_words():
    words = describe_strength(judged(most=2.0))
    start = "‖∇E‖² at E = 0.1 by μ: in proportion. The effect goes as μ to the power "
    assert words.sentence.startswith(start)
    assert sum("which does not count" in note for note in words.notes) == 2
    assert words.notes[0].startswith("μ = 0.0001: −1.9")
    assert "on the way: 0.2 at most." in "\n".join(words.notes)
