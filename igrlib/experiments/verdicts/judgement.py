"""What a recorded sweep says of Predictions 2.1 to 2.4: which hold, and which do not.

Each prediction has one primary statistic, the trend of one quantity with h within blocks of equal
width, batch size and seed, judged by an exact permutation test and by its size. The same is asked
of the regularizer alone, added explicitly at a small step. The thresholds were written before the
records that they judge.

Source: Section 2, Predictions 2.1-2.4, and Section 4; chapters 7, *MNIST*, 9, *Explicit
regularization*, and 10, *What held*.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from igrlib.experiments.blocks import Blocks, arms, blocks, dataset_of, missing_units, not_whole
from igrlib.experiments.records import Record
from igrlib.experiments.verdicts.predictions import CAUSES, CLAIMS, Question, questions
from igrlib.experiments.verdicts.rules import Thresholds, Word, p_of, thresholds_of, word_of
from igrlib.experiments.verdicts.trends import Trend, trend

__all__ = ["Thresholds", "Verdict", "Word", "judge"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """A verdict with its numbers; `sentence` says it, `notes` what else there is to know.

    trend: of the primary quantity over all blocks, None without a record; widths: the same by
    width; controls, beside: by what was kept or measured; models, diverged (left out), unmeasured:
    how many models; beyond_edge: h·λ_max over the edge, left in; missing: units not yet run.
    """

    prediction: str
    claim: str
    word: Word
    sentence: str
    notes: tuple[str, ...] = ()
    trend: Trend | None = None
    widths: dict[int, Trend] = field(default_factory=dict)
    controls: dict[str, Trend] = field(default_factory=dict)
    beside: dict[str, Trend] = field(default_factory=dict)
    models: int = 0
    diverged: int = 0
    unmeasured: int = 0
    beyond_edge: int = 0
    missing: tuple[str, ...] = ()


def judge(
    record: Record | None,
    arm: str = "sgd",
    *,
    explicit: bool = False,
    thresholds: Thresholds | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on Predictions 2.1 to 2.4 from one arm of a record.

    They are about the models that were trained without explicit regularization, by their learning
    rates h; with `explicit` about those of the smallest learning rate h_s, by their effective rates
    h_s + 4μ: what the regularizer does without the step that it stands for. `thresholds` are by
    default those of the experiment and data set.

    Holds: p under `significance` in the predicted direction and an effect that matters, of the same
    sign at every width, and the same without any one width and under every control that leaves
    enough blocks. Holds in part: not under some control, or only at some widths. Does not hold: p
    under `significance` in the other direction, or an interval that leaves out every effect that
    matters. Cannot tell: anything else, and always without a record or with units missing: to stop
    where the numbers please is no test.

    Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 10, *What held*.
    """
    claims = CAUSES if explicit else CLAIMS
    if record is None:
        return _untold(claims, "There is no record.")
    if arm not in arms(record):
        return _untold(claims, f"No unit of the arm {arm!r} is recorded.")
    limits = thresholds or thresholds_of(record.experiment, dataset_of(record, arm), record.profile)
    try:
        table = blocks(record, arm)
    except ValueError as error:
        return _untold(claims, f"The record cannot be used: {error}.")
    table = table.explicit() if explicit else table.plain()
    missing = missing_units(record, arm)
    asked = questions(table, level=limits.level, edge=limits.edge, least=limits.least())
    if explicit:
        asked = [replace(question, factor="h + 4μ") for question in asked]
    lacking = not_whole(record, arm)
    try:
        return tuple(
            _judged(table, q, claims[q.prediction], missing, lacking, limits) for q in asked
        )
    except ValueError as error:  # Of `trend`: more learning rates than it can judge.
        return _untold(claims, f"The record cannot be used: {error}.")


def _untold(claims: Mapping[str, str], reason: str) -> tuple[Verdict, ...]:
    return tuple(
        Verdict(number, claim, "cannot tell", f"Prediction {number}: cannot tell. {reason}")
        for number, claim in claims.items()
    )


def _judged(
    table: Blocks,
    question: Question,
    claim: str,
    missing: tuple[str, ...],
    lacking: str,
    limits: Thresholds,
) -> Verdict:
    def over(quantity: np.ndarray, rows: np.ndarray | slice = slice(None)) -> Trend:
        return trend(
            table.effective_rate,
            quantity[rows],
            table.seed[rows],
            relative=question.relative,
            rates=limits.rates,
            seeds=limits.seeds,
            confidence=limits.confidence,
        )

    total = over(question.primary)
    widths = {int(n): over(question.primary, table.width == n) for n in np.unique(table.width)}
    # One width must not carry all the others, whose effects then need only be of the right sign.
    controls = {
        f"without width {n}": over(question.primary, table.width != n)
        for n in widths
        if len(widths) > 1
    }
    controls |= {
        name: over(np.where(kept, question.primary, np.nan))
        for name, kept in question.controls.items()
    }
    beside = {name: over(quantity) for name, quantity in question.beside.items()}
    word, why = word_of(question, total, widths, controls, limits)
    if lacking:
        word, why = "cannot tell", lacking
    measured = np.isfinite(question.primary)
    models, diverged = int(table.finished.sum()), int(table.marks["diverged"].sum())
    unmeasured = models - diverged - int(measured.sum())
    beyond = int((question.edge[measured] > limits.edge).sum())
    told = functools.partial(_told, question, limits)
    sentence = f"Prediction {question.prediction}: {word}. {told(question.name, total)} {why}"
    # Where stability rules, λ_max falls as 2/h whatever the regularizer does.
    medians = [
        f"{np.median(column[np.isfinite(column)]):.2g} at {question.factor} = {rate:g}"
        for rate, column in zip(table.effective_rate, question.edge.T, strict=True)
        if np.isfinite(column).any()
    ]
    notes = [
        f"{models} models, {diverged} diverged and left out, {unmeasured} more without a value.",
        f"h·λ_max is over {limits.edge:g} in {beyond}; median {', '.join(medians) or 'unknown'}.",
        *(told(f"at width {n}", part, each=True) for n, part in widths.items()),
        *(told(name, part) for name, part in (*controls.items(), *beside.items())),
    ]
    return Verdict(
        question.prediction,
        claim,
        word,
        sentence.strip(),
        tuple(notes),
        total,
        widths,
        controls,
        beside,
        models,
        diverged,
        unmeasured,
        beyond,
        missing,
    )


def _told(
    question: Question, limits: Thresholds, name: str, part: Trend, *, each: bool = False
) -> str:
    """An effect, its interval, or with `each` that of every seed where there is none, and its p."""
    # "λ" is not written "Λ" at the start of a sentence.
    start = name[0].upper() + name[1:] if name[0].isascii() else name
    if not part.blocks:
        return f"{start}: no seed has {limits.rates} rates with a value."
    parts = [f"{_signed(part.effect)} {question.unit} per doubling of {question.factor}"]
    if part.interval is not None:
        low, high = map(_signed, part.interval)
        parts.append(f"{100 * limits.confidence:g} % interval {low} to {high}")
    elif each:
        pairs = zip(part.seed.tolist(), part.effects.tolist(), strict=True)
        parts.append(", ".join(f"{_signed(effect)} (seed {seed})" for seed, effect in pairs))
    way = "fall" if question.falls else "rise"
    parts.append(f"exact p of a {way} {p_of(question, part):.2g}")
    parts.append(f"{part.blocks} block{'s' * (part.blocks > 1)}")
    return f"{start}: {'; '.join(parts)}."


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")
