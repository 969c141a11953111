"""igrlib.experiments.verdicts on records whose effects are known."""

import dataclasses
import math

import numpy as np
import pytest
import xarray as xr
from helpers.records import RATES, record, sweep, unit

from igrlib.experiments import records
from igrlib.experiments.arm import Arm, combinations
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.table import explicit, table_of
from igrlib.experiments.verdicts import Thresholds, describe, judge
from igrlib.experiments.verdicts.predictions import Question
from igrlib.experiments.verdicts.rules import observation_of
from igrlib.experiments.verdicts.trends import Tails, Trend

# log‖∇E‖² and log λ_max fall by these per doubling, accuracy and area rise by points.
LARGE = {"squared_gradient": -0.5, "lambda_max": -0.4, "accuracy": 0.3, "area": 1.5}
TOLD = {"2.1": 100 * np.expm1(-0.5), "2.2": 100 * np.expm1(-0.4), "2.3": 0.3, "2.4": 1.5}
REVERSED = {name: -effect for name, effect in LARGE.items()}
# What normal noise of `spread` leaves undecided depends on the unit: accuracies are in points.
QUIET, LOUD = 0.01, 3.0


def words(*args, **kwargs):
    return [verdict.observation for verdict in judge(*args, **kwargs)]


def signed(number):
    return f"{number:+.2f}".replace("-", "−")


def test_an_effect_everywhere_holds_and_is_told():
    verdicts = judge(sweep(effects=LARGE, spread=QUIET))
    assert [v.prediction for v in verdicts] == ["2.1", "2.2", "2.3", "2.4"]
    assert [v.label for v in verdicts] == ["P1", "P2", "P3", "P4"]
    for verdict in verdicts:
        assert verdict.observation == "reproduced"
        name = f"P{verdict.prediction[-1]} (Prediction {verdict.prediction})"
        start = f"{name}: reproduced, at 2 widths; association, cause open."
        assert describe(verdict).sentence.startswith(start)
        np.testing.assert_allclose(verdict.trend.effect, TOLD[verdict.prediction], rtol=0.05)
        assert verdict.trend.interval[0] < TOLD[verdict.prediction] < verdict.trend.interval[1]
        assert signed(verdict.trend.effect) in describe(verdict).sentence
        assert "16 blocks" in describe(verdict).sentence
        assert sorted(verdict.widths) == [50, 100]
        assert (verdict.models, verdict.diverged, verdict.unmeasured) == (80, 0, 0)


def test_matched_loss_removes_what_the_loss_alone_does():
    # In these records loss falls faster with h, and ‖∇E‖² with it, as E².
    verdict = judge(sweep(spread=QUIET))[0]
    assert abs(verdict.trend.effect) < 0.5
    table = table_of(sweep(spread=QUIET), "sgd")
    final = np.log(table["train_squared_gradient"].values[..., -1])
    assert np.all(np.diff(final, axis=1) < -0.5)


def test_no_effect_does_not_hold_where_that_can_be_seen():
    verdicts = judge(sweep(spread=QUIET))
    assert [v.observation for v in verdicts] == 4 * ["not reproduced"]
    assert "An effect under 5 % does not matter." in describe(verdicts[0]).sentence
    assert "An effect under 0.05 points does not matter." in describe(verdicts[2]).sentence


def test_no_effect_under_much_noise_cannot_be_told():
    verdicts = judge(sweep(spread=LOUD))
    assert [v.observation for v in verdicts] == 4 * ["cannot tell"]
    assert all("not significant" in describe(v).sentence for v in verdicts)


def test_a_reversed_effect_does_not_hold():
    verdicts = judge(sweep(effects=REVERSED, spread=QUIET))
    assert [v.observation for v in verdicts] == 4 * ["not reproduced"]
    assert all("significantly the other way" in describe(v).sentence for v in verdicts)
    # Also one too small to matter as a gain.
    assert words(sweep(effects={"accuracy": -0.04}, spread=QUIET))[2] == "not reproduced"


def test_a_significant_effect_too_small_to_matter_does_not_hold():
    verdict = judge(sweep(effects={"accuracy": 0.03}, spread=QUIET))[2]
    assert verdict.trend.p.rising < 1e-6
    assert verdict.observation == "not reproduced"
    verdict = judge(sweep(effects={"accuracy": 0.045}, spread=0.05))[2]
    assert verdict.trend.p.rising < 0.01
    assert verdict.trend.interval[1] > 0.05
    assert verdict.observation == "cannot tell"
    assert "may be too small to matter" in describe(verdict).sentence


@pytest.mark.slow
def test_the_regularizer_alone_is_judged_at_the_smallest_rate():
    """Effects of μ only, and linear in it: those of h are none, and none of larger rates count."""
    how = {"rates": (0.1, 0.05, 0.01), "mus": (0.0, 0.01, 0.02), "spread": QUIET}
    by_mu = {name: 100 * effect for name, effect in LARGE.items()}
    made = sweep(mu_effects=by_mu, **how)
    assert words(made) == 4 * ["not reproduced"]
    verdicts = judge(made, explicit=True)
    assert [v.observation for v in verdicts] == 4 * ["reproduced"]
    # Least squares of 100·effect·μ on log₂(h + 4μ), by hand.
    mu = np.array(how["mus"])
    slope = np.polyfit(np.log2(0.01 + 4 * mu), 100 * mu, 1)[0]
    np.testing.assert_allclose(verdicts[2].trend.effect, slope * LARGE["accuracy"], rtol=0.1)
    assert verdicts[0].claim.startswith("a larger μ, at the smallest learning rate,")
    assert "per doubling of h + 4μ" in describe(verdicts[0]).sentence
    assert (verdicts[0].models, verdicts[0].trend.cells) == (48, 48)
    # The step is still the small one: h·λ_max does not grow with μ.
    assert "at h + 4μ = 0.09" in describe(verdicts[1]).notes[1]
    table = table_of(made, "sgd")
    np.testing.assert_allclose(np.unique(explicit(table)["effective_rate"]), [0.01, 0.05, 0.09])
    assert words(sweep(effects=LARGE, **how), explicit=True) == 4 * ["not reproduced"]


JUDGED = [
    pytest.param(name, profile, arm, id=f"{name}-{profile}-{arm.name}-{arm.widths[0]}")
    for name, sweep in EXPERIMENTS.items()
    for profile, arms_ in sweep.items()
    for arm in arms_
    if isinstance(arm, Arm) and len(arm.mus) == 1  # Those of Figure 3c are judged by the boost.
]


@pytest.mark.parametrize(("experiment", "profile", "arm"), JUDGED)
def test_every_arm_can_be_found_to_hold(experiment, profile, arm):
    """A design in which the best of all records says nothing would be a waste of its hours."""
    limits = arm.thresholds
    plain = [h for h, mu, _ in combinations(arm) if mu == 0]
    alone = [mu for h, mu, _ in combinations(arm) if h == min(plain)]
    seeds = sum(arm.num_seeds * (len(arm.widths) if len(arm.num_seeds) == 1 else 1))
    blocks_ = seeds * len(arm.batch_sizes)
    for factors in (plain, alone) if arm.matched else (plain,):
        assert len(factors) >= limits.rates
        assert blocks_ >= limits.blocks
        # All blocks in order, of as few rates as are wanted.
        assert math.factorial(limits.rates) ** -float(limits.blocks) < limits.significance


@pytest.mark.slow
def test_an_effect_at_one_width_only_holds_in_part():
    seeds = tuple(range(8))
    none, large = (unit(50, seeds, spread=QUIET), unit(100, seeds, effects=LARGE, spread=QUIET))
    slight = unit(50, seeds, effects={"accuracy": 0.02}, spread=QUIET)
    assert "too small to matter at width 50" in describe(judge(record(slight, large))[2]).sentence
    against = unit(50, seeds, effects={"squared_gradient": 0.1}, spread=QUIET)
    assert words(record(none, large)) == 4 * ["reproduced in part"]
    assert "at width 50" in describe(judge(record(none, large))[0]).sentence
    verdict = judge(record(against, large, unit(200, seeds, effects=LARGE)))[0]
    assert verdict.observation == "reproduced in part"
    assert "has the other sign at width 50" in describe(verdict).sentence
    # As many the other way: ranks ignore by how much.
    verdict = judge(record(against, large))[0]
    assert verdict.trend.p.falling > 0.01
    assert verdict.observation == "reproduced in part"
    assert "Not seen over all widths together, but at 100." in describe(verdict).sentence


def test_one_width_may_not_carry_the_others():
    # All signs are right, but without the first width chance explains the rest.
    seeds = tuple(range(8))
    others = (unit(n, seeds, effects=LARGE, spread=20.0) for n in (100, 200))
    verdict = judge(record(unit(50, seeds, effects=LARGE, spread=QUIET), *others))[3]
    assert verdict.trend.p.rising < 0.01
    assert all(part.effect > 0 for part in verdict.widths.values())
    assert verdict.observation == "reproduced in part"
    assert "The trend was not found without width 50." in describe(verdict).sentence


def test_a_width_without_measurements_keeps_it_from_holding():
    made = unit(50, tuple(range(8)), effects=LARGE)
    made.arrays["train_loss"][:] = 1.0
    verdict = judge(record(made, unit(100, tuple(range(8)), effects=LARGE)))[0]
    assert verdict.observation == "reproduced in part"
    assert "Nothing was measured at width 50" in describe(verdict).sentence
    assert verdict.unmeasured == 40


@pytest.mark.slow
def test_few_blocks_cannot_tell_and_few_seeds_claim_no_interval():
    verdict = judge(sweep(widths=(50,), seeds=range(3), effects=LARGE))[0]
    assert verdict.observation == "cannot tell"
    assert "It takes 4 blocks" in describe(verdict).sentence
    verdicts = judge(sweep(seeds=range(4), effects=LARGE, spread=QUIET))
    assert [v.observation for v in verdicts] == 4 * ["reproduced"]
    for verdict in verdicts:
        assert verdict.trend.interval is None
        assert "interval" not in " ".join((describe(verdict).sentence, *describe(verdict).notes))
        part = verdict.widths[100]
        note = next(note for note in describe(verdict).notes if note.startswith("At width 100"))
        for seed, effect in zip(part.seed, part.effects, strict=True):
            assert f"{signed(effect)} (seed {seed})" in note
    # Without an interval, "too small" is never said.
    assert words(sweep(seeds=range(4), spread=QUIET)) == 4 * ["cannot tell"]


def test_two_rates_are_no_trend():
    verdict = judge(sweep(effects=LARGE, rates=(0.1, 0.01)))[0]
    assert (verdict.observation, verdict.trend.blocks) == ("cannot tell", 0)


def test_an_effect_of_unfitted_models_alone_holds_in_part():
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        # The effect is at the highest rate; without its models nothing is left of it.
        first = np.flatnonzero(each.arrays["learning_rate"] == max(RATES))
        each.meta["marks"]["fitted"] = sorted({*range(40)} - {*first.tolist()})
        accuracy = each.arrays["chosen_test_accuracy"]
        for rows in accuracy.reshape(8, 5, 3):
            rows[1:] = rows[1:].mean() + 1e-5 * np.array([1, -1, -1, 1])[:, None]
    verdict = judge(record(*made))[2]
    assert verdict.observation == "reproduced in part"
    assert "not found among models that fitted" in describe(verdict).sentence
    assert verdict.controls["among models that fitted every training example"].cells == 64


def test_censored_runs_are_left_out_by_the_point_of_choice():
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        each.meta["marks"] |= {"censored_validation": [0, 1], "censored_test": [2, 3, 4, 9]}
    name = "without runs whose best accuracy came in their last tenth"
    # The first seed is left with 3 rates.
    assert all(v.controls[name].cells == 2 * 38 for v in judge(record(*made)))
    for each in made:
        each.arrays["chosen_test_accuracy"][:, 0] = np.nan  # no validation split
    # The first seed is left with 2 and does not count.
    cells = [v.controls[name].cells for v in judge(record(*made))]
    assert cells[2] == 2 * 34


def test_points_beyond_the_edge_of_stability_are_counted_and_judged_without():
    made = [unit(n, tuple(range(8)), effects=LARGE, full_batch=True) for n in (50, 100)]
    for each in made:
        fast = each.arrays["learning_rate"] > 0.03
        each.arrays["crossing_lambda_max"][:] = np.where(fast, 100.0, 1.0)[:, None]
    verdict = judge(record(*made))[0]
    control = verdict.controls["among points with h·λ_max ≤ 2"]
    assert (verdict.beyond_edge, control.cells, verdict.observation) == (32, 48, "reproduced")
    for each in made:
        # The others go the other way.
        squared = each.arrays["train_squared_gradient"].reshape(8, 5, -1)
        squared[:, 2:] = squared[:, 2:][:, ::-1] / 10
        loss = each.arrays["train_loss"].reshape(8, 5, -1)
        loss[:, 2:] = loss[:, 2:][:, ::-1]
        squared[:, :2] /= 1000
    verdict = judge(record(*made))[0]
    assert verdict.observation == "reproduced in part"
    assert "not found among points with h·λ_max ≤ 2" in describe(verdict).sentence


def test_diverged_models_are_left_out_and_counted():
    made = [unit(n, tuple(range(8)), effects=LARGE, spread=QUIET) for n in (50, 100)]
    for each in made:
        fast = each.arrays["learning_rate"] == max(RATES)
        each.arrays["diverged"][fast] = 50
        each.arrays["chosen_test_accuracy"][fast] = 0.1
        each.arrays["train_squared_gradient"][fast] *= 1e6
    verdicts = judge(record(*made))
    assert [v.observation for v in verdicts] == 4 * ["reproduced"]
    assert all((v.diverged, v.trend.cells, v.unmeasured) == (16, 64, 0) for v in verdicts)
    assert "80 models, 16 diverged" in describe(verdicts[0]).notes[0]


def test_the_quantities_beside_have_their_own_effects():
    verdicts = {v.prediction: v for v in judge(sweep(effects=LARGE, points=("validation", "test")))}
    fall = 100 * np.expm1(-0.5)
    effects = {n: t.effect for n, t in verdicts["2.1"].beside.items()}
    names = [f"‖∇E‖² at training loss {level}" for level in ("0.1", "0.001", "0.0001")]
    np.testing.assert_allclose([effects[name] for name in names], 3 * [fall], rtol=1e-9)
    effects = {n: t.effect for n, t in verdicts["2.2"].beside.items()}
    np.testing.assert_allclose(effects["λ_max at training loss 0.01"], TOLD["2.2"], rtol=1e-9)
    slope = 100 * np.expm1(-0.25)
    for name in (
        "slope at the point chosen by validation accuracy",
        "slope there after noise of σ = 0.5",
    ):
        np.testing.assert_allclose(effects[name], slope, rtol=1e-9)
    assert len(effects) == 3


def test_test_selection_stands_beside_validation_selection():
    made = sweep(effects=LARGE)
    for each in made.units.values():
        x = np.log2(each.arrays["learning_rate"])
        each.arrays["chosen_test_accuracy"][:, 1] = 0.9 + 0.007 * x
    verdict = judge(made)[2]
    np.testing.assert_allclose(verdict.trend.effect, 0.3, rtol=1e-9)
    paper = verdict.beside["test accuracy at its own maximum, as in the paper"]
    np.testing.assert_allclose(paper.effect, 0.7, rtol=1e-9)


@pytest.mark.slow
def test_without_a_validation_split_the_test_split_chose():
    made = sweep(effects=LARGE, points=("test",), validated=False)
    verdicts = judge(made)
    assert [v.observation for v in verdicts] == 4 * ["reproduced"]
    assert all("chosen by test accuracy" in describe(v).sentence for v in verdicts[1:])
    # With one, accuracies are judged there also where nothing costly was measured.
    words = [v.observation for v in judge(sweep(effects=LARGE, points=()))]
    assert words == ["reproduced", "cannot tell", "reproduced", "cannot tell"]
    assert "chosen by validation accuracy" in describe(judge(sweep(points=()))[2]).sentence


@pytest.mark.parametrize("lost", ["crossing_lambda_max", "level", "chosen_noise_accuracy", "noise"])
def test_measurements_that_were_not_made_cost_only_what_needs_them(lost):
    made = sweep(effects=LARGE)
    for each in made.units.values():
        for name in [name for name in each.arrays if name.startswith(lost)]:
            del each.arrays[name]
    expected = 4 * ["reproduced"]
    if lost in ("chosen_noise_accuracy", "noise"):
        expected[3] = "cannot tell"
    assert words(made) == expected


def test_no_record_and_no_arm_cannot_be_told():
    for verdicts, reason in (
        (judge(None), "There is no record."),
        (judge(sweep(), "gd"), "No unit of the arm 'gd' is recorded."),
        (judge(record(unit(50, (0, 1)), unit(50, (1, 2)))), "must hold different models"),
    ):
        assert [v.observation for v in verdicts] == 4 * ["cannot tell"]
        assert all(reason in describe(v).sentence for v in verdicts)
        assert all(v.trend is None for v in verdicts)


@pytest.mark.slow
@pytest.mark.usefixtures("without_type_hook")
def test_a_record_on_disk_is_judged_only_when_it_is_whole(tmp_path):
    made = sweep(effects=LARGE)
    for each in made.units.values():
        meta = {
            "experiment": "mlp-sweep",
            "profile": "cpu",
            "unit": each.name,
            "dataset": {"name": "none", "fingerprint": "0", "sizes": {}},
            "config": {},
            "seeds": list(range(8)),
            "seconds": 0,
            "provenance": {"versions": {}, "device": {}, "cpus": 1, "commit": None},
            "diverged": [],
        }
        records.add_unit(tmp_path, each.name, each.arrays, {**each.meta, **meta})
    # Nobody has said what there is to be.
    verdicts = judge(records.open_record(tmp_path))
    assert {v.observation for v in verdicts} == {"cannot tell"}
    assert all("does not say which units" in describe(v).sentence for v in verdicts)
    records.rebuild_manifest(tmp_path, expected_units=made.units)
    assert words(records.open_record(tmp_path)) == 4 * ["reproduced"]
    expected = [*made.units, "sgd-n0400-b00032-s00-07", "gd-n0050-b01000-s00-03"]
    records.rebuild_manifest(tmp_path, expected_units=expected)
    verdicts = judge(records.open_record(tmp_path))
    for verdict in verdicts:
        assert verdict.observation == "cannot tell"
        assert verdict.missing == ("sgd-n0400-b00032-s00-07",)
        assert "Not yet run: sgd-n0400-b00032-s00-07." in describe(verdict).sentence
        assert verdict.trend.blocks == 16
    # What happens to the manifest after the record was opened changes nothing.
    opened = records.open_record(tmp_path)
    for content in ('{"expected": null}', "", None):
        path = tmp_path / "manifest.json"
        path.unlink() if content is None else path.write_text(content)
        assert words(opened) == 4 * ["cannot tell"]


@pytest.mark.slow
def test_more_learning_rates_than_a_trend_takes_cannot_be_judged():
    verdicts = judge(sweep(rates=tuple(0.01 * k for k in range(1, 14)), effects=LARGE))
    assert [v.observation for v in verdicts] == 4 * ["cannot tell"]
    assert all("at most 12 learning rates, got 13" in describe(v).sentence for v in verdicts)
    assert (
        words(sweep(rates=tuple(0.01 * k for k in range(1, 13)), effects=LARGE))[1] == "reproduced"
    )


@pytest.mark.slow
def test_thresholds_decide():
    made = sweep(effects=LARGE, spread=QUIET)
    strict = {
        "significance": 1e-60,
        "least_squared_gradient": 60.0,
        "blocks": 17,
        "rates": 6,
        "level": 1e-200,
    }
    for name, value in strict.items():
        limits = dataclasses.replace(Thresholds(), **{name: value})
        assert words(made, thresholds=limits)[0] != "reproduced", name
    assert Thresholds().confidence == pytest.approx(0.98)
    # One slip in four blocks of three is still significant, in three blocks it is not.
    assert 9 / 6**4 < Thresholds().significance < 7 / 6**3


@pytest.mark.slow
def test_of_records_without_effect_few_are_said_to_hold():
    limits = dataclasses.replace(Thresholds(), significance=0.05)
    found = [
        word
        for n in range(25)
        for word in words(
            sweep(widths=(n, 100 + n), seeds=range(4), spread=LOUD), thresholds=limits
        )
    ]
    # Of 100 at most 5 ± 2 are significant in each direction.
    assert sum(word.startswith("reproduced") for word in found) < 14
    assert sum(word == "cannot tell" for word in found) > 75


PREREGISTERED = [
    # experiment, data set, profile: level, least accuracy, rates, blocks
    ("mlp-sweep", "mnist", "cpu", 1e-2, 0.05, 3, 4),
    ("mlp-sweep", "digits", "digits", 1e-2, 0.05, 3, 4),
    ("mlp-sweep", "mnist", "long", 1e-2, 0.05, 4, 3),
    ("mlp-sweep", "mnist", "paper", 1e-2, 0.05, 4, 3),
    ("egr-sweep", "digits", "digits", 1e-1, 0.05, 3, 4),
    ("egr-sweep", "mnist", "cpu", 1e-1, 0.05, 3, 4),
    ("egr-sweep", "cifar10", "cpu", 1.6, 0.25, 3, 3),
    ("egr-sweep", "cifar10", "paper", 1.0, 0.25, 3, 3),
    ("resnet-sweep", "digits", "digits", 1e-2, 0.05, 3, 4),
    ("resnet-sweep", "cifar10", "cpu", 1.6, 0.25, 4, 3),
    ("resnet-sweep", "cifar10", "paper", 1e-1, 0.25, 4, 3),
]


@pytest.mark.parametrize(
    ("experiment", "dataset", "profile", "level", "accuracy", "rates", "blocks_"), PREREGISTERED
)
def test_thresholds_stay_as_they_were_set(
    experiment, dataset, profile, level, accuracy, rates, blocks_
):
    """Before the records that they judge; whoever changes one changes it here too."""
    arms = [arm for arm in EXPERIMENTS[experiment][profile] if isinstance(arm, Arm)]
    (limits,) = {arm.thresholds for arm in arms if arm.dataset == dataset}
    assert dataclasses.asdict(limits) == {
        "significance": 0.01,
        "level": level,
        "edge": 2.0,
        "least_squared_gradient": 5.0,
        "least_lambda_max": 5.0,
        "least_accuracy": accuracy,
        "least_area": 0.5,
        "rates": rates,
        "blocks": blocks_,
        "seeds": 8,
        "widths": 2,
    }


def a_trend(effect, falling, blocks_=8):
    effects = np.full(blocks_, effect)
    tails = Tails(falling, 1 - falling)
    return Trend(effect, None, tails, effects, np.arange(blocks_), 5 * blocks_, True)


@pytest.mark.parametrize(
    ("p", "widths", "word"),
    [
        (0.009, 1, "reproduced in part"),
        (0.009, 2, "cannot tell"),
        (0.006, 2, "cannot tell"),
        (0.004, 2, "reproduced in part"),
        (0.004, 3, "cannot tell"),
        (0.003, 3, "reproduced in part"),
    ],
)
def test_the_more_widths_the_less_each_is_believed(p, widths, word):
    """One of them alone: p under 0.01 over their number."""
    question = Question("2.1", "it", True, True, 5.0, *5 * [xr.DataArray(np.zeros((1, 1)))])
    parts = {50 * k: a_trend(-1.0, 0.5) for k in range(1, widths)}
    parts[800] = a_trend(-40.0, p)
    found = observation_of(question, a_trend(-10.0, 0.2), parts, {}, Thresholds())
    assert found[0] == word


def test_edges_are_those_of_the_point_that_a_prediction_is_about():
    """h·λ_max at the training loss for 2.1, at the chosen point for the others; of models counted.

    Only rates over 0.02 have h·100 over 2, only those over 0.06 have h·30 over 2.
    """
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        each.arrays["crossing_lambda_max"][:] = 100.0
        each.arrays["chosen_lambda_max"][:, 0] = 30.0
        # The first two models have no value of 2.1, and the first one none of the others.
        each.arrays["train_loss"][:2] = 1.0
        for name in ("chosen_lambda_max", "chosen_test_accuracy", "chosen_noise_accuracy"):
            each.arrays[name][0] = np.nan
        assert each.arrays["learning_rate"][:2].tolist() == [0.1, 0.05]
    verdicts = judge(record(*made))
    # 8 seeds, 2 widths: 3 rates beyond; 1 rate beyond.
    assert [v.beyond_edge for v in verdicts] == [2 * (3 * 8 - 2), *3 * [2 * (8 - 1)]]
    for each in made:
        each.arrays["chosen_lambda_max"][0, 0] = 30.0  # It is known where accuracy is not.
    assert [v.beyond_edge for v in judge(record(*made))[2:]] == 2 * [2 * (8 - 1)]


def test_the_median_of_the_edges_is_told():
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        seeds = each.arrays["seed"]
        curvature = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 30.0, 30.0])[seeds]
        each.arrays["crossing_lambda_max"][:] = curvature[:, None]
    (note,) = [
        n for n in describe(judge(record(*made))[0]).notes if n.startswith("h·λ_max is over")
    ]
    # 2h at each of the rates.
    told = "0.01 at h = 0.005, 0.02 at h = 0.01, 0.05 at h = 0.025, 0.1 at h = 0.05, 0.2 at h = 0.1"
    assert note.endswith(f"median {told}.")


def test_an_edge_that_was_not_measured_is_not_told_as_never_passed():
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        each.arrays["crossing_lambda_max"][:] = np.nan
    notes = describe(judge(record(*made))[0]).notes
    assert "h·λ_max is unknown: it has no value in any of these models." in notes
    assert not any("is over" in note for note in notes)
