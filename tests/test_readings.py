"""Observation and reading of verdicts, thresholds, where models stand, and the words."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.records import record, sweep, unit

from igrlib.experiments import records
from igrlib.experiments.arm import Arm
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.records import Record
from igrlib.experiments.runner import units
from igrlib.experiments.settings import changed
from igrlib.experiments.table import arms
from igrlib.experiments.verdicts import (
    Reason,
    Thresholds,
    Verdict,
    describe,
    judge,
    recorded_thresholds,
)
from igrlib.experiments.verdicts.describe import REASONS, RIVALS
from igrlib.experiments.verdicts.predictions import FITTED
from igrlib.experiments.verdicts.rules import reading_of

LARGE = {"squared_gradient": -0.5, "lambda_max": -0.4, "accuracy": 0.3, "area": 1.5}
QUIET = 0.01
ROOT = Path(__file__).parents[1]


def signed(number):
    return f"{number:+.2f}".replace("-", "−")


@pytest.mark.slow
def test_thresholds_are_those_of_the_profile_where_none_are_stored():
    """Those of MNIST are the defaults; a shorter run is judged at a larger loss."""
    made = sweep(effects={"squared_gradient": -0.5})
    assert recorded_thresholds(made, "sgd") == Thresholds()
    short = Record(made.directory, "egr-sweep", "cpu", made.units)
    assert "‖∇E‖² at training loss 0.1:" in describe(judge(short)[0]).sentence
    for each in made.units.values():
        each.meta["unit_config"]["dataset"] = "cifar10"
    for experiment, profile, level in (
        ("resnet-sweep", "cpu", 1.6),
        ("resnet-sweep", "cpu+seeds=2", 1.6),
        ("resnet-sweep", "paper", 0.1),
        ("egr-sweep", "paper", 1.0),
    ):
        longer = Record(made.directory, experiment, profile, made.units)
        assert judge(longer)[0].thresholds.level == level
    for experiment, profile in (("resnet-sweep", "mine"), ("mlp-sweep", "cpu"), ("x", "cpu")):
        verdicts = judge(Record(made.directory, experiment, profile, made.units))
        assert [v.observation for v in verdicts] == 4 * ["cannot tell"]
        assert "must have one set of thresholds for data set" in describe(verdicts[0]).sentence


def test_thresholds_that_are_stored_are_those_judged_by():
    made = sweep(effects=LARGE)
    several = list(made.units.values())
    before = Thresholds(level=1e-3, blocks=5)
    for each in several:
        each.meta["unit_config"]["thresholds"] = dataclasses.asdict(before)
    assert recorded_thresholds(made, "sgd") == before
    verdict = judge(Record(made.directory, "none", "such", made.units))[0]
    assert (verdict.thresholds, verdict.standing.level) == (before, 1e-3)
    assert judge(made, thresholds=Thresholds())[0].standing.level == 1e-2
    # Units that were to be judged in two ways cannot be judged together.
    several[0].meta["unit_config"]["thresholds"] = dataclasses.asdict(Thresholds())
    assert "different thresholds" in describe(judge(made)[0]).sentence
    for wrong in ({"alpha": 0.05}, "strict", [0.01]):
        for each in several:
            each.meta["unit_config"]["thresholds"] = wrong
        verdicts = judge(made)
        assert {v.observation for v in verdicts} == {"cannot tell"}
        assert "has thresholds that igrlib does not know" in describe(verdicts[0]).sentence


@pytest.mark.slow
def test_units_store_the_thresholds_of_their_arm_and_records_agree_with_the_profiles():
    for profiles in EXPERIMENTS.values():
        for several in profiles.values():
            for each in units(arm for arm in several if isinstance(arm, Arm)):
                stored = json.loads(json.dumps(each.config()))["thresholds"]
                assert Thresholds(**stored) == each.arm.thresholds
    found = 0
    for folder in sorted((ROOT / "book" / "results").glob("*/")):
        opened = records.open_record(folder)
        several = {arm.name: arm for arm in EXPERIMENTS[opened.experiment][opened.profile]}
        for name in arms(opened):
            assert recorded_thresholds(opened, name) == several[name].thresholds
            found += 1
    assert found


def test_the_number_of_widths_is_told_beside_the_word():
    verdict = judge(sweep(widths=(50,), effects=LARGE, spread=QUIET))[0]
    assert verdict.observation == "reproduced"
    assert describe(verdict).sentence.startswith("P1 (Prediction 2.1): reproduced, at 1 width;")
    assert "This is about one network and says nothing of others." in describe(verdict).notes
    two = judge(sweep(effects=LARGE, spread=QUIET))[0]
    assert not any("one network" in note for note in describe(two).notes)


def test_with_batches_the_edge_of_the_whole_split_is_no_control():
    """Their λ_max of the whole split stays far below 2/h, whatever their own stability is."""
    for full in (True, False):
        verdicts = judge(sweep(effects=LARGE, full_batch=full))
        assert ("among points with h·λ_max ≤ 2" in verdicts[0].controls) == full
        assert not any("h·λ_max" in name for v in verdicts[1:] for name in v.controls)
        assert (Reason("batches") in verdicts[0].rivals) != full


def test_a_control_that_leaves_too_little_is_not_passed():
    made = [unit(n, tuple(range(8)), effects=LARGE) for n in (50, 100)]
    for each in made:
        each.meta["marks"]["fitted"] = []
    verdict = judge(record(*made))[0]
    assert verdict.observation == "reproduced in part"
    assert verdict.reasons == (Reason("control silent", (FITTED,)),)
    assert "Too few blocks are left among models that fitted" in describe(verdict).sentence


def progressing(falls, fitted, accuracy=0.3):
    """A sweep whose training loss at the chosen point goes with h as e^(−falls·log₂ h)."""
    made = [unit(n, tuple(range(8)), effects={**LARGE, "accuracy": accuracy}) for n in (50, 100)]
    for each in made:
        x = np.log2(each.arrays["learning_rate"] / 0.01)
        each.arrays["chosen_train_loss"] *= np.exp(-falls * x)[:, None]
        each.meta["marks"]["fitted"] = list(range(40)) if fitted else []
    return record(*made)


@pytest.mark.parametrize(
    ("falls", "fitted", "accuracy", "word"),
    [
        (0.3, False, 0.3, "cannot tell"),  # Larger steps have come further: that may be all.
        (0.3, True, 0.3, "reproduced"),  # Found among models that had nowhere further to go.
        (-0.3, False, 0.3, "reproduced in part"),  # More accurate though they have come less far.
        (-0.3, False, -0.3, "cannot tell"),  # Less far, and less accurate.
        (-0.3, True, -0.3, "not reproduced"),
        (0.3, False, -0.3, "not reproduced"),
        (0.0, False, 0.3, "reproduced in part"),
    ],
)
def test_accuracy_is_judged_beside_the_loss_at_which_models_stand(falls, fitted, accuracy, word):
    verdicts = judge(progressing(falls, fitted, accuracy))
    verdict = verdicts[2]
    assert verdict.observation == word
    assert (Reason("progress") in verdict.reasons) == (word == "cannot tell")
    np.testing.assert_allclose(verdict.progress.effect, 100 * np.expm1(-falls), atol=1e-9)
    told = f"Training loss there: {signed(100 * np.expm1(-falls))} % per doubling of h"
    assert falls == 0 or any(note.startswith(told) for note in describe(verdict).notes)
    # λ_max has its own trend at equal loss beside it.
    assert verdicts[1].observation == ("reproduced" if fitted else "reproduced in part")


def test_fitted_models_that_show_nothing_leave_the_trend_to_the_loss():
    made = progressing(0.3, fitted=True)
    for each in made.units.values():
        # Fitted are the three small rates of each seed, all of one accuracy.
        small = each.arrays["learning_rate"] < 0.03
        each.meta["marks"]["fitted"] = np.flatnonzero(small).tolist()
        each.arrays["chosen_test_accuracy"][small] = 0.9
    assert judge(made)[2].reasons == (Reason("progress"),)


def test_a_few_fitted_blocks_do_not_part_accuracy_from_the_loss():
    """Three, each in order and together significant, where four are asked for."""
    made = progressing(0.3, fitted=False)
    first = next(iter(made.units.values()))
    first.meta["marks"]["fitted"] = list(range(15))
    verdict = judge(made)[2]
    fitted = verdict.controls[FITTED]
    assert (fitted.blocks, fitted.p.rising < 1e-5) == (3, True)
    assert verdict.reasons == (Reason("progress"),)


def test_what_lacks_units_has_no_reading_and_no_word_at_any_level():
    made = dataclasses.replace(sweep(effects=LARGE), expected=("sgd-n0400-b00032-s00-07",))
    whole = judge(dataclasses.replace(made, expected=()))[0]
    verdict = judge(made)[0]
    assert (whole.reading, verdict.reading) == ("association, cause open", "none")
    assert {one.observation for one in whole.levels} == {"reproduced"}
    assert {one.observation for one in verdict.levels} == {"cannot tell"}
    assert verdict.reasons == (Reason("not yet run", ("sgd-n0400-b00032-s00-07",)),)


def test_thresholds_cannot_be_set_for_a_run():
    """They are fixed in the profile: whoever sets one after looking has none."""
    arms_ = EXPERIMENTS["mlp-sweep"]["digits"]
    with pytest.raises(ValueError, match="the field of a setting must be one of"):
        changed("digits", arms_, ["thresholds=0.05"])


def with_curvature(number, **how):
    made = sweep(**how)
    for each in made.units.values():
        for name in ("crossing_lambda_max", "chosen_lambda_max"):
            each.arrays[name][:] = number
    return made


@pytest.mark.slow
def test_an_observation_is_evidence_only_where_no_rival_is_left():
    smooth = {"full_batch": True, "activation": "tanh", "effects": LARGE}
    first = judge(with_curvature(1.0, **smooth))[0]
    assert (first.reading, first.rivals) == ("evidence for the regularizer", ())
    assert "Not excluded" not in describe(first).sentence
    kinks = judge(with_curvature(1.0, **{**smooth, "activation": "relu"}))[0]
    assert kinks.rivals == (Reason("kinks"),)
    # h·λ_max is 1.1 at the largest rate, 0.1; then 0.99; then nobody knows.
    assert judge(with_curvature(11.0, **smooth))[0].rivals == (Reason("edge"),)
    assert judge(with_curvature(9.9, **smooth))[0].rivals == ()
    assert judge(with_curvature(np.nan, **smooth))[0].rivals == (Reason("edge"),)
    # Of rates that do not come to the level nothing is asked there.
    low = judge(with_curvature(1.0, **smooth), thresholds=Thresholds(level=1e-3))[0]
    assert np.isnan(low.standing.time[:2]).all()
    assert low.rivals == ()
    # At the level itself it is low, but the run has been at the edge before.
    before = with_curvature(1.0, **smooth)
    for each in before.units.values():
        each.arrays["crossing_lambda_max"][:, 0] = 15.0
    first = judge(before, thresholds=Thresholds(level=1e-3))[0]
    assert np.nanmax(first.standing.edge) < 0.2
    assert first.rivals == (Reason("edge"),)


@pytest.mark.slow
def test_a_chosen_point_has_a_rival_where_the_losses_differ():
    made = with_curvature(1.0, full_batch=True, activation="tanh", effects=LARGE)
    for each in made.units.values():
        x = np.log2(each.arrays["learning_rate"])
        each.arrays["chosen_train_loss"] *= np.exp(0.1 * x)[:, None]
    verdicts = judge(made)
    assert [v.rivals for v in verdicts] == [(), *3 * [(Reason("loss"),)]]
    assert {v.reading for v in verdicts[2:]} == {"association, cause open"}
    assert "Not excluded: the training losses, which differ." in describe(verdicts[2]).sentence
    for each in made.units.values():
        each.arrays["chosen_train_loss"][:] = np.nan
    assert judge(made)[2].rivals == (Reason("loss"),)


@pytest.mark.parametrize(
    ("observation", "kind", "rivals", "explicit", "reading"),
    [
        ("reproduced", None, (), False, "evidence for the regularizer"),
        ("reproduced in part", "control silent", (), True, "evidence for the regularizer"),
        ("reproduced", None, ("batches",), False, "association, cause open"),
        ("reproduced", None, ("edge",), True, "effect of the penalty, mechanism open"),
        ("not reproduced", "other way", (), False, "evidence against the prediction"),
        ("not reproduced", "too small", (), False, "evidence against an effect that matters"),
        ("cannot tell", "progress", (), False, "none"),
        ("cannot tell", "not yet run", ("batches",), True, "none"),
    ],
)
def test_the_reading_of_each_observation(observation, kind, rivals, explicit, reading):
    reasons = (Reason(kind),) if kind else ()
    found = reading_of(observation, reasons, tuple(map(Reason, rivals)), explicit=explicit)
    assert found == reading


def test_every_reason_and_rival_has_words_and_none_is_left_over():
    source = (ROOT / "igrlib" / "experiments" / "verdicts").glob("*.py")
    text = "".join(path.read_text() for path in source if path.name != "describe.py")
    given = "".join(re.findall(r"Reason\([^)]*\)", text))
    named = {name for name in re.findall(r'"([^"\n]+)"', given) if "{" not in name}
    assert named == {*REASONS, *RIVALS}
    for kind in REASONS:
        made = Verdict("2.1", "it", "cannot tell", reasons=(Reason(kind, ("a", "b")),), unit="%")
        sentence = describe(made).sentence
        assert sentence.startswith("P1 (Prediction 2.1): cannot tell; as evidence: none. ")
        assert "{" not in sentence


def test_many_names_are_counted():
    made = Verdict("2.1", "it", "cannot tell", reasons=(Reason("not yet run", tuple("abcdef")),))
    assert describe(made).sentence.endswith("Not yet run: a, b, c and 3 more.")


def test_the_other_levels_are_judged_and_told():
    """Where ‖∇E‖² at equal loss falls with h above a loss of 0.02, and not below it."""
    made = sweep(effects=LARGE, spread=QUIET, steps=(*range(0, 3000, 20), 3000))
    for each in made.units.values():
        loss, squared = (each.arrays[f"train_{name}"] for name in ("loss", "squared_gradient"))
        x = np.log2(each.arrays["learning_rate"] / 0.01)[:, None]
        low = loss < 0.015
        squared[low] = (squared * np.exp(0.5 * x))[low]
    verdict = judge(made)[0]
    found = {one.level: one.observation for one in verdict.levels}
    assert list(found) == [0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001]
    assert {found[level] for level in (0.1, 0.05, 0.02)} == {"reproduced"}
    assert {found[level] for level in (0.01, 0.005, 0.002, 0.001)} == {"not reproduced"}
    assert verdict.observation == "not reproduced"
    told = describe(verdict).sentence.partition("At other losses: ")[2]
    assert f"E = 0.05 reproduced, {signed(100 * np.expm1(-0.5))[:3]}" in told
    assert "E = 0.01 " not in told
    assert all(not v.levels for v in judge(made)[1:])


def test_where_the_models_stand_is_told():
    """Physical time t = n·h, loss and h·λ_max: medians over the blocks."""
    made = sweep(effects=LARGE, rates=(0.1, 0.05, 0.01), steps=(0, 100, 200, 300))
    for each in made.units.values():
        # From 1 to 10⁻⁴: 0.01 is crossed half-way from step 100 to 200, in the logarithm.
        each.arrays["train_loss"] = np.tile(10.0 ** np.array([0, -1, -3, -4]), (24, 1))
        each.arrays["crossing_step"] = np.tile([200, 200, 300, 300], (24, 1))
        each.arrays["crossing_lambda_max"] = np.tile([3.0, 3.0, 2.0, 2.0], (24, 1))
        each.arrays["chosen_step"][:] = 400
    first, second = judge(made)[:2]
    np.testing.assert_allclose(first.standing.factor, [0.01, 0.05, 0.1])
    np.testing.assert_allclose(first.standing.time, np.sqrt(2.0) * np.array([1.0, 5.0, 10.0]))
    np.testing.assert_allclose(first.standing.edge, [0.03, 0.15, 0.3])
    # λ_max was not measured before the crossing: it is that of step 200, at a loss of 0.001.
    np.testing.assert_allclose(first.standing.curvature_loss, 3 * [1e-3])
    told = "At E = 0.01 t = n·h is 1.4 to 14, h·λ_max 0.03 to 0.3 (4 Lanczos products, "
    assert f"{told}λ_max at E = 0.001)." in describe(first).sentence
    np.testing.assert_allclose(second.standing.time, [4.0, 20.0, 40.0])
    np.testing.assert_allclose(second.standing.loss, 3 * [0.01])
    assert "There E is 0.01, t = n·h is 4 to 40" in describe(second).sentence


def test_an_edge_with_a_penalty_is_that_of_the_loss_descended_on():
    """h·c·(1 + 2μc) for c = λ_max."""
    made = sweep(rates=(0.1, 0.05, 0.01), mus=(0.0, 0.01, 0.02), full_batch=True)
    for each in made.units.values():
        each.arrays["chosen_lambda_max"][:] = 10.0
    standing = judge(made, explicit=True)[1].standing
    np.testing.assert_allclose(standing.edge, [0.1, 0.12, 0.14])
