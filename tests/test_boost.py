"""igrlib.experiments.verdicts.boost on records whose best models are known."""

import dataclasses

import numpy as np
import pytest
from helpers.records import record, unit

from igrlib.experiments.table import table_of
from igrlib.experiments.verdicts import BoostThresholds, boost, describe, judge_boost

STEPS = np.array([0, 50, 100, 200])


def grid(seeds, rates, mus, accuracies, arm="resnet"):
    """A unit whose models have these accuracies, {(h, μ): (validation, test) over STEPS}, and 0
    where none are given; each seed adds a tenth of a point."""
    made = unit(8, seeds, rates=rates, mus=mus, arm=arm)
    h, mu, seed = (made.arrays[name] for name in ("learning_rate", "mu", "seed"))
    made.arrays["score_step"] = STEPS
    made.arrays["stop"] = np.full(len(h), 200)
    for split, of in (("validation", 0), ("test", 1)):
        rows = [accuracies.get((a, b), 2 * (np.zeros(4),))[of] for a, b in zip(h, mu, strict=True)]
        made.arrays[f"{split}_accuracy"] = np.array(rows) + seed[:, None] / 1000
    return made


# The best plain model is best at step 200, by validation; its test accuracy was higher before.
PLAIN = {
    (0.1, 0.0): ([0.1, 0.3, 0.5, 0.6], [0.1, 0.3, 0.63, 0.55]),
    (0.2, 0.0): ([0.1, 0.5, 0.4, 0.3], [0.1, 0.7, 0.4, 0.3]),
}
# With μ only steps up to 100 count: 0.75 at step 200 took more gradients than the plain models.
REGULARIZED = {
    (0.1, 0.01): ([0.1, 0.4, 0.6, 0.8], [0.1, 0.4, 0.58, 0.75]),
    (0.2, 0.05): ([0.1, 0.65, 0.5, 0.4], [0.1, 0.60, 0.5, 0.4]),
}


def test_both_sides_choose_on_validation_among_equally_many_gradients():
    made = grid((0, 1, 2), (0.1, 0.2), (0.0, 0.01, 0.05), PLAIN | REGULARIZED)
    table = table_of(record(made), "resnet")
    found = boost(table, table)
    tenths = np.array([0.0, 0.1, 0.2])
    np.testing.assert_allclose(found.plain, 55 + tenths)
    np.testing.assert_allclose(found.explicit, 60 + tenths)
    np.testing.assert_allclose(found.points, 5.0)
    assert found.gradients == 200
    assert (found.plain_rate == 0.1).all()
    assert (found.explicit_rate == 0.2).all()
    assert (found.explicit_mu == 0.05).all()


def test_plain_models_may_come_from_another_record():
    ours = grid((0, 1, 2, 3), (0.1, 0.2), (0.01, 0.05), REGULARIZED)
    more = {(0.1, 0.9): 2 * (np.ones(4),)}
    theirs = grid((1, 2, 3), (0.05, 0.1, 0.2), (0.0, 0.9), PLAIN | more, "sgd")
    verdict = judge_boost(record(ours), "resnet", plain=(record(theirs), "sgd"))
    found = boost(table_of(record(ours), "resnet"), table_of(record(theirs), "sgd"))
    assert found.seed.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.points, 5.0)
    assert verdict.observation == "reproduced in part"
    assert (
        "+5.0 (seed 1: 60.1 % with h = 0.2, μ = 0.05; 55.1 % with h = 0.1)"
        in describe(verdict).sentence
    )
    told = "200 gradients for each side, of h = 0.1, 0.2 with μ and 0.05, 0.1, 0.2 without"
    assert told in describe(verdict).sentence


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ((0.13, 0.125, 0.2), "reproduced"),
        ((0.13, 0.115, 0.2), "reproduced in part"),
        ((0.005, 0.009, -0.2), "not reproduced"),
        ((0.13, 0.005, 0.2), "cannot tell"),
        ((0.13, 0.125), "cannot tell"),
    ],
)
def test_the_word_takes_every_seed(gains, word):
    made = []
    for seed, gain in enumerate(gains):
        best = {(0.1, 0.01): 2 * (np.array([0, 0.5 + gain, 0, 0]),)}
        best |= {(0.1, 0.0): 2 * (np.full(4, 0.5),)}
        made.append(grid((seed,), (0.05, 0.1, 0.2), (0.0, 0.01), best))
    assert judge_boost(record(*made)).observation == word
    # With a lower bar the lowest gain is enough.
    low = BoostThresholds(claimed=-100.0, seeds=2)
    assert judge_boost(record(*made), thresholds=low).observation == "reproduced"


def test_the_best_of_two_plain_rates_is_no_best():
    """Where plain models of several rates are missing, a gain may be that of a better rate."""
    made = grid((0, 1, 2), (0.1, 0.2), (0.0, 0.01, 0.05), PLAIN | REGULARIZED)
    verdict = judge_boost(record(made))
    assert verdict.observation == "cannot tell"
    assert "needs at least 3 plain learning rates" in describe(verdict).sentence
    assert (
        judge_boost(record(made), thresholds=BoostThresholds(rates=2)).observation
        == "reproduced in part"
    )


@pytest.mark.parametrize("lacking", ["ours", "theirs"])
def test_either_record_may_lack_a_unit(lacking):
    ours = record(grid((0, 1, 2), (0.1, 0.2), (0.01, 0.05), REGULARIZED))
    theirs = record(grid((0, 1, 2), (0.05, 0.1, 0.2), (0.0,), PLAIN, "sgd"))
    whole = judge_boost(ours, plain=(theirs, "sgd"))
    assert whole.observation == "reproduced in part"
    missing = f"{'resnet' if lacking == 'ours' else 'sgd'}-n0008-b00512-s03-03"
    if lacking == "ours":
        ours = dataclasses.replace(ours, expected=(missing,))
    else:
        theirs = dataclasses.replace(theirs, expected=(missing,))
    verdict = judge_boost(ours, plain=(theirs, "sgd"))
    assert (verdict.observation, verdict.reading) == ("cannot tell", "none")
    assert verdict.missing == (missing,)
    assert f"Not yet run: {missing}." in describe(verdict).sentence
    np.testing.assert_allclose(verdict.boost.points, whole.boost.points)


def test_what_cannot_be_told():
    nothing = judge_boost(None)
    assert (nothing.observation, nothing.prediction) == ("cannot tell", "3c")
    assert (
        "No unit of the arm 'x'"
        in describe(judge_boost(record(grid((0,), (0.1,), (0.0,), {})), "x")).sentence
    )
    plain = judge_boost(record(grid((0, 1, 2), (0.1,), (0.0,), PLAIN)))
    assert plain.observation == "cannot tell"
    assert "with and without μ > 0" in describe(plain).sentence
    unvalidated = grid((0, 1, 2), (0.1,), (0.0, 0.01), PLAIN)
    unvalidated.arrays["validation_accuracy"][:] = np.nan
    assert "validation split" in describe(judge_boost(record(unvalidated))).sentence
