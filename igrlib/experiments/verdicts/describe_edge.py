"""Verdicts on the ladder, on flatness and on the strength of the regularizer, in words.

Source: chapter 10, *The edge of stability*.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from igrlib.experiments.thresholds import Thresholds
from igrlib.experiments.verdicts.describe import REASONS, Description, number_of, several, signed
from igrlib.experiments.verdicts.flatness import Association, Flatness
from igrlib.experiments.verdicts.ladder import MEASURES, Hypothesis, Ladder, Rung, agreed
from igrlib.experiments.verdicts.ratios import Ratio
from igrlib.experiments.verdicts.rules import Reason
from igrlib.experiments.verdicts.strength import Strength
from igrlib.experiments.verdicts.trends import Trend

__all__ = ["describe_flatness", "describe_ladder", "describe_strength", "describe_together"]

_NAMES = {
    "squared_gradient": "‖∇E‖²",
    "lambda_max": "λ_max",
    "accuracy": "Test accuracy",
    "slope": "the slope ‖∇E‖",
}

_KINDS = ("large", "kept", "plain")


def describe_ladder(verdict: Ladder) -> Description:
    """The verdict of a ladder on one measure: the word, the position, each rung; then the details.

    Source: chapter 10, *The edge of stability*.
    """
    name = _NAMES[verdict.measure]
    parts = [f"{name} at E = {verdict.level:g}: {verdict.word}."]
    whole = verdict.whole
    if whole is not None and whole.position.blocks:
        parts.append(
            "From the edge's prediction, 0, to the regularizer's, 1: "
            f"{_ratio(whole.position, verdict.thresholds)}."
        )
    parts += _reasons(verdict.reasons)
    rungs = [_beside(verdict, rung) for rung in verdict.rungs if rung.position.blocks]
    if rungs:
        parts.append(
            f"Beside h = {verdict.large:g}, where the regularizer predicts no difference: "
            f"{'; '.join(rungs)}."
        )
    return Description(" ".join(parts), tuple(_ladder_notes(verdict)))


def describe_together(verdicts: Sequence[Ladder]) -> Description:
    """What ladders say together: of all measures and arms that can tell, then of each by itself.

    Source: chapter 10, *The edge of stability*.
    """
    arms = list(dict.fromkeys(one.arm for one in verdicts))
    notes: list[str] = []
    for of, names in (("measure", list(MEASURES)), ("arm", arms)):
        for name in names if len(names) > 1 else ():
            words: list[Hypothesis] = [one.word for one in verdicts if getattr(one, of) == name]
            notes.append(f"{_NAMES.get(name, name)}: {agreed(words)}.")
    count = sum(one.word != "cannot tell" for one in verdicts)
    word = agreed([one.word for one in verdicts])
    return Description(f"Together: {word}; {count} of {len(verdicts)} can tell.", tuple(notes))


def describe_flatness(verdict: Flatness) -> Description:
    """The verdict on whether flatness explains accuracy: the word, and the effect in both ways.

    Source: chapter 10, *The edge of stability*.
    """
    name = _NAMES[verdict.measure]
    parts = [f"Flatness as {name} at E = {verdict.level:g}: {verdict.word}."]
    parts += _reasons(verdict.reasons)
    for way, found in (("h", verdict.over_h), ("μ", verdict.over_mu)):
        if found is not None and found.effect.blocks:
            parts.append(f"Over {way}: {_association(found, verdict.thresholds)}.")
    notes = []
    if verdict.levels:
        words = "; ".join(f"E = {e:g} {word}" for e, word in verdict.levels.items())
        notes.append(f"At other losses: {words}.")
    return Description(" ".join(parts), tuple(notes))


def describe_strength(verdict: Strength) -> Description:
    """The verdict on the law of the strength: the word, the exponent, and the effect of each μ.

    Source: chapter 10, *The edge of stability*.
    """
    parts = [f"‖∇E‖² at E = {verdict.level:g} by μ: {verdict.word}."]
    limits = verdict.thresholds or Thresholds()
    if verdict.exponent is not None:
        parts.append(f"The effect goes as μ to the power {_ratio(verdict.exponent, limits)}.")
    parts += _reasons(verdict.reasons)
    notes = []
    if verdict.mu is not None and verdict.within is not None and verdict.edge is not None:
        for mu, effect, within, edge in zip(
            verdict.mu, verdict.effects, verdict.within, verdict.edge[1:], strict=True
        ):
            beyond = "" if within else ", which does not count"
            notes.append(
                f"μ = {mu:g}: {_difference(effect.difference, '%', limits)}{beyond}; "
                f"h·λ_max(1 + 2μλ_max) {_known(edge)}."
            )
        most = _known(verdict.largest_edge)
        notes.append(f"h·λ_max(1 + 2μλ_max) of those that count, on the way: {most} at most.")
    if verdict.slope is not None:
        notes.append(f"log ‖∇E‖² per unit of μ, at the smallest: {_ratio(verdict.slope, limits)}.")
    return Description(" ".join(parts), tuple(notes))


def _ladder_notes(verdict: Ladder) -> Iterator[str]:
    limits = verdict.thresholds
    for rung in verdict.rungs:
        if rung.position.blocks:
            yield (
                f"h = {rung.learning_rate:g}, μ = {rung.mu:.4g}, of the edge of h = "
                f"{rung.like:.3g}: {rung.word}; position {_ratio(rung.position, limits)}; share "
                f"kept {_ratio(rung.share, limits)}, by the regularizer 1, by the edge "
                f"{_decimal(rung.edge_share)}."
            )
    trends = (verdict.falling, verdict.edge_falling, verdict.plain_falling)
    if all(one is not None and one.blocks for one in trends):
        ours, edge, plain = (
            _difference(one, verdict.unit, limits) for one in trends if one is not None
        )
        yield (
            f"Per doubling of h, with the penalty: {ours}; the regularizer predicts 0, the edge "
            f"{edge}; without the penalty {plain}."
        )
    for width, part in verdict.widths.items():
        if len(verdict.widths) > 1 and part.position.blocks:
            yield f"At width {width}: {part.word}; position {_ratio(part.position, limits)}."
    for name, label in (
        ("edge", "h·λ_max(1 + 2μλ_max)"),
        ("batch_sharpness", "h·batch sharpness"),
        ("time", "t = n·h"),
    ):
        of = verdict.standing.get(name)
        if of is not None:
            large, kept, plain = (", ".join(map(_known, of[kind])) for kind in _KINDS)
            yield (
                f"Median {label} there: {large} with h = {verdict.large:g}; as h falls, with the "
                f"penalty {kept}, without {plain}."
            )
    if verdict.levels:
        words = "; ".join(f"E = {e:g} {word}" for e, word in verdict.levels.items())
        yield f"At other losses: {words}."


def _beside(verdict: Ladder, rung: Rung) -> str:
    unit = verdict.unit
    bound = "" if rung.bound is None else f", where it binds {signed(rung.bound)} {unit}"
    return (
        f"h = {rung.learning_rate:g} with μ "
        f"{_difference(rung.kept.difference, unit, verdict.thresholds)} (edge "
        f"{signed(rung.edge.difference.effect)} {unit}{bound}; without μ "
        f"{signed(rung.plain.difference.effect)} {unit})"
    )


def _association(found: Association, limits: Thresholds) -> str:
    effect = found.effect
    parts = [f"{found.way}, {signed(effect.value)} points per halving"]
    if effect.interval is not None:
        low, high = map(signed, effect.interval)
        parts.append(f"{100 * limits.confidence:g} % interval {low} to {high}")
    falling, rising = found.p
    parts.append(f"exact p of a rise {rising:.2g}, of a fall {falling:.2g}")
    parts.append(f"{found.halvings:.1f} halvings, {found.cells} models in {_blocks(effect.blocks)}")
    return "; ".join(parts)


def _difference(found: Trend, unit: str, limits: Thresholds) -> str:
    told = f"{signed(found.effect)} {unit}"
    if found.interval is None:
        return told
    low, high = map(signed, found.interval)
    return f"{told}, {100 * limits.confidence:g} % interval {low} to {high}"


def _ratio(found: Ratio, limits: Thresholds) -> str:
    told = _decimal(found.value)
    if found.interval is not None:
        low, high = map(_decimal, found.interval)
        told += f" ({100 * limits.confidence:g} % interval {low} to {high}; "
    else:
        told += " (no interval; "
    return f"{told}{_blocks(found.blocks)})"


def _blocks(number: int) -> str:
    return f"{number} block{'s' * (number != 1)}"


def _decimal(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if np.isfinite(value) else "unknown"


def _known(value: float) -> str:
    return number_of(value) if np.isfinite(value) else "unknown"


def _reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    for kind, names in reasons:
        yield REASONS[kind].format(names=several(names))
