"""Whether explicit regularization lifts test accuracy over the best plain learning rate.

Both sides choose on validation, their learning rate, μ and time, and both may compute as many
gradients: a step on E + μ‖∇E‖² takes two, so that it has half of the steps. The paper's Figure 3c
compares models of one learning rate instead, after equal numbers of steps.

Source: Section 6, Figure 3c; chapters 9, *Explicit regularization*, and 10, *What held*.
"""

from dataclasses import dataclass

import numpy as np

from igrlib.experiments.blocks import Blocks, arms, blocks, missing_units, not_whole
from igrlib.experiments.records import Record
from igrlib.experiments.verdicts.judgement import Verdict
from igrlib.experiments.verdicts.rules import Word

__all__ = ["BOOST", "Boost", "BoostThresholds", "boost", "judge_boost"]

BOOST = "explicit regularization lifts test accuracy by more than 12 points"
"""What the paper says of Figure 3c."""


@dataclass(frozen=True)
class BoostThresholds:
    """What a verdict on the boost takes, in points of test accuracy, in every seed.

    Source: chapter 9, *Explicit regularization*.
    """

    claimed: float = 12.0
    """The paper's."""
    least: float = 1.0
    """Two standard errors of an accuracy of 60 to 75 % on 10,000 images: less is no boost."""
    seeds: int = 3
    """The fewest to speak of."""
    rates: int = 3
    """Of plain models, the fewest of which the best is a best."""


@dataclass(frozen=True, eq=False)
class Boost:
    """The best plain and the best regularized model of each block, chosen on validation.

    seed: (B,); plain, explicit: test accuracies in per cent, NaN where none was measured;
    plain_rate, explicit_rate, explicit_mu: of the models chosen; gradients: how many a model of
    either side could compute.
    """

    seed: np.ndarray
    plain: np.ndarray
    explicit: np.ndarray
    plain_rate: np.ndarray
    explicit_rate: np.ndarray
    explicit_mu: np.ndarray
    gradients: int

    @property
    def points(self) -> np.ndarray:
        """(B,) what explicit regularization adds."""
        return self.explicit - self.plain


def boost(regularized: Blocks, plain: Blocks) -> Boost:
    """The boost in the blocks that both tables have; models of `plain` with μ > 0 do not count.

    Raises `ValueError` where no block is in both, no model of `regularized` has μ > 0, or either
    was measured without a validation split.

    Source: Figure 3c; chapter 9.
    """
    plain = plain.plain()
    where = {key: row for row, key in enumerate(_keys(plain))}
    rows = [(k, where[key]) for k, key in enumerate(_keys(regularized)) if key in where]
    if not rows or not (regularized.mu > 0).any():
        raise ValueError("regularized and plain must have blocks in common, with and without μ > 0")
    ours, theirs = (list(side) for side in zip(*rows, strict=True))
    gradients = int(np.nanmax(plain.value("stop")))
    with_mu = np.flatnonzero(regularized.mu > 0)
    one = _best(plain, theirs, np.arange(len(plain.mu)), gradients)
    other = _best(regularized, ours, with_mu, gradients // 2)
    return Boost(
        seed=regularized.seed[ours],
        plain=one[0],
        explicit=other[0],
        plain_rate=plain.learning_rate[one[1]],
        explicit_rate=regularized.learning_rate[other[1]],
        explicit_mu=regularized.mu[other[1]],
        gradients=gradients,
    )


def judge_boost(
    record: Record | None,
    arm: str = "resnet",
    *,
    plain: tuple[Record, str] | None = None,
    thresholds: BoostThresholds | None = None,
) -> Verdict:
    """The verdict on the paper's 12 points, from one arm of a record.

    `plain` is the record and arm with the plain models; None takes those of the same arm. Holds:
    over 12 points in every seed; holds in part: over `least` in every seed; does not hold: over
    `least` in none; cannot tell: anything else, fewer seeds or plain rates than wanted, or units
    missing.

    Source: Section 6, Figure 3c; chapters 9 and 10.
    """
    limits = thresholds or BoostThresholds()
    if record is None or arm not in arms(record):
        return _verdict("cannot tell", f"No unit of the arm {arm!r} is recorded.")
    other, other_arm = plain or (record, arm)
    sides = dict.fromkeys([(record, arm), (other, other_arm)])
    missing = tuple(name for side in sides for name in missing_units(*side))
    lacking = " ".join(filter(None, (not_whole(*side) for side in sides)))
    try:
        ours, theirs = blocks(record, arm), blocks(other, other_arm).plain()
        found = boost(ours, theirs)
    except ValueError as error:
        return _verdict("cannot tell", f"The record cannot be used: {error}.")
    each = ", ".join(
        f"{f'{points:+.1f}'.replace('-', '−')} (seed {seed}: {e:.1f} % with h = {h:g}, μ = {mu:g}; "
        f"{p:.1f} % with h = {plain_h:g})"
        for points, seed, e, h, mu, p, plain_h in zip(
            found.points,
            found.seed.tolist(),
            found.explicit,
            found.explicit_rate,
            found.explicit_mu,
            found.plain,
            found.plain_rate,
            strict=True,
        )
    )
    rates, with_mu = theirs.learning_rate, np.unique(ours.learning_rate[ours.mu > 0])
    told = (
        f"Points of test accuracy, {found.gradients} gradients for each side, of h = "
        f"{_listed(with_mu)} with μ and {_listed(rates)} without: {each}."
    )
    if lacking:
        return _verdict("cannot tell", f"{told} {lacking}", missing)
    if len(rates) < limits.rates:
        return _verdict("cannot tell", f"{told} At least {limits.rates} plain rates are needed.")
    points = found.points[np.isfinite(found.points)]
    if len(np.unique(found.seed[np.isfinite(found.points)])) < limits.seeds:
        return _verdict("cannot tell", f"{told} At least {limits.seeds} seeds are needed.")
    if points.min() > limits.claimed:
        return _verdict("holds", told)
    if points.min() > limits.least:
        return _verdict("holds in part", f"{told} But not over {limits.claimed:g} points.")
    if points.max() <= limits.least:
        return _verdict("does not hold", f"{told} No seed gains over {limits.least:g}.")
    return _verdict("cannot tell", f"{told} Some seeds gain, others do not.")


def _verdict(word: Word, why: str, missing: tuple[str, ...] = ()) -> Verdict:
    return Verdict("3c", BOOST, word, f"Figure 3c: {word}. {why}", missing=missing)


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _keys(table: Blocks) -> list[tuple[int, int, int]]:
    columns = (table.width.tolist(), table.batch_size.tolist(), table.seed.tolist())
    return list(zip(*columns, strict=True))


def _best(
    table: Blocks, rows: list[int], columns: np.ndarray, last: int
) -> tuple[np.ndarray, np.ndarray]:
    """Test accuracy, in per cent, and column of the best model by validation up to step `last`."""
    if not np.isfinite(table.value("validation_accuracy")).any():
        raise ValueError("both must have a validation split to choose on")
    early = table.shared["score_step"] <= last
    validation, test = (
        table.value(f"{split}_accuracy")[rows][:, columns][..., early]
        for split in ("validation", "test")
    )
    flat = np.where(np.isfinite(validation), validation, -1.0).reshape(len(rows), -1)
    best = np.argmax(flat, axis=1)
    chosen = np.take_along_axis(test.reshape(len(rows), -1), best[:, None], 1)[:, 0]
    return 100 * chosen, columns[best // validation.shape[-1]]
