"""Verdicts on the paper's predictions in words; `describe_edge` does it for those on the edge.

Nothing else in `igrlib.experiments.verdicts` writes sentences.

Source: chapter 12, *What held*.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from igrlib.experiments.verdicts.trends import Trend
from igrlib.experiments.verdicts.verdict import LABELS, Boost, Level, Standing, Verdict

__all__ = ["REASONS", "RIVALS", "Description", "describe", "number_of", "several", "signed"]

REASONS = {
    "no record": "There is no record.",
    "no arm": "No unit of the arm '{names}' is recorded.",
    "not usable": "The record cannot be used: {names}.",
    "nobody has said": "The record does not say which units it should have; igr run writes it.",
    "not yet run": "Not yet run: {names}.",
    "few blocks": "It takes {limits.blocks} blocks of {limits.rates} learning rates or more.",
    "progress": (
        "The training loss goes the same way, and too few models that fitted every training "
        "example show the trend: it may only say how far training has come."
    ),
    "other way": "The trend goes significantly the other way.",
    "some widths": "Not seen over all widths together, but at {names}.",
    "too small": "An effect under {least:g} {unit} does not matter.",
    "perhaps too small": "The trend is significant but may be too small to matter.",
    "not significant": "The trend is not significant, but it may be large enough to matter.",
    "width not measured": "Nothing was measured at width {names}.",
    "width of the other sign": "The effect has the other sign at width {names}.",
    "width too small": "The effect is too small to matter at width {names}.",
    "control failed": "The trend was not found {names}.",
    "control silent": "Too few blocks are left {names}.",
    "few rates": "A verdict needs at least {names} plain learning rates.",
    "few seeds": "A verdict needs at least {names} seeds.",
    "under the claim": "Every seed gains, but not every seed gains over {names} points.",
    "no gain": "No seed gains over {names}.",
    "some gain": "Some seeds gain, others do not.",
    "few whole blocks": "A verdict needs at least {names} blocks with all of their models.",
    "same predictions": "The two predictions are too close, or too uncertain, to be told apart.",
    "wide": "The interval is too wide for an answer.",
    "more than the regularizer": "The effect is beyond the regularizer's prediction.",
    "less than the edge": "The effect is beyond the edge's prediction.",
    "off both": "The two predictions are too close, and the effect agrees with neither.",
    "widths differ": "A single width gives another answer.",
    "silent": "The trend over {names} cannot be told.",
    "other size": "The two effects differ in size.",
    "few strengths": "A verdict needs at least {names} strengths with a small effect.",
    "edge near": "The edge of stability is near or unknown: this is not the case of the theorem.",
}
"""The sentence for each kind of reason; `names` stands for the names in the reason."""

RIVALS = {
    "batches": "the edge of stability of batches, which was not measured",
    "edge": "the edge of stability: h·λ_max was over 1, or is unknown",
    "kinks": "the kinks of the loss",
    "loss": "the training losses, which differ",
}
"""What else could explain an observation."""


class Description(NamedTuple):
    """A verdict in a sentence or two, and notes with everything else."""

    sentence: str
    notes: tuple[str, ...]


def describe(verdict: Verdict) -> Description:
    """A verdict in words: observation, number of widths and reading; numbers; reasons; notes.

    Source: chapter 12, *What held*.
    """
    title = verdict.label
    if verdict.prediction in LABELS:
        title += f" (Prediction {verdict.prediction})"
    word = verdict.observation
    if verdict.widths:
        word += f", at {counted(len(verdict.widths), 'width')}"
    reading = f"as evidence: {verdict.reading}" if verdict.reading == "none" else verdict.reading
    parts = [f"{title}: {word}; {reading}."]
    if verdict.trend is not None:
        parts.append(_effect(verdict, verdict.name, verdict.trend))
    if verdict.boost is not None:
        parts.append(_boost(verdict.boost))
    parts += _reasons(verdict)
    if verdict.trend is not None and verdict.trend.blocks:
        parts += _beside_the_word(verdict)
    return Description(" ".join(parts), tuple(_notes(verdict)))


def _reasons(verdict: Verdict) -> Iterator[str]:
    for kind, names in verdict.reasons:
        text = REASONS[kind]
        yield text.format(
            names=several(names),
            limits=verdict.thresholds,
            least=verdict.least,
            unit=verdict.unit,
        )


def several(names: Sequence[str]) -> str:
    """Names with commas, of many the first three."""
    more = len(names) - 3
    return ", ".join(names) if more < 2 else f"{', '.join(names[:3])} and {more} more"


def _beside_the_word(verdict: Verdict) -> Iterator[str]:
    """Where the models stand, the other levels, and what else would explain it."""
    if verdict.standing is not None:
        yield _standing(verdict.standing)
    others = [one for one in verdict.levels if one.level != verdict.thresholds.level]
    if others:
        yield f"At other losses: {'; '.join(map(_level, others))}."
    if verdict.rivals and verdict.observation in ("reproduced", "reproduced in part"):
        yield f"Not excluded: {'; '.join(RIVALS[kind] for kind, _ in verdict.rivals)}."


def _standing(standing: Standing) -> str:
    where = "There" if standing.level is None else f"At E = {standing.level:g}"
    parts = [f"t = n·h is {_range(standing.time)}"]
    if standing.level is None:
        parts.insert(0, f"E is {_range(standing.loss)}")
    products = " or ".join(map(str, standing.num_matvecs)) or "an unknown number of"
    if np.isfinite(standing.edge).any():
        at = standing.curvature_loss[np.isfinite(standing.curvature_loss)]
        measured = ""
        if standing.level is not None and not np.allclose(at, standing.level, rtol=1e-6):
            measured = f", λ_max at E = {_range(at)}"
        parts.append(f"h·λ_max {_range(standing.edge)} ({products} Lanczos products{measured})")
    else:
        parts.append("h·λ_max unknown")
    return f"{where} {', '.join(parts)}."


def _level(one: Level) -> str:
    return f"E = {one.level:g} {one.observation}, {signed(one.trend.effect)} %"


def _notes(verdict: Verdict) -> Iterator[str]:
    if verdict.trend is None:
        return
    yield (
        f"{counted(verdict.models, 'model')}, {verdict.diverged} diverged and left out, "
        f"{verdict.unmeasured} more without a value."
    )
    if len(verdict.widths) < verdict.thresholds.widths:
        yield "This is about one network and says nothing of others."
    standing = verdict.standing
    if standing is not None:
        if medians := _columns(verdict, standing.edge):
            beyond = f"is over {verdict.thresholds.edge:g} in {verdict.beyond_edge}"
            yield f"h·λ_max {beyond}; median {medians}."
        else:
            yield "h·λ_max is unknown: it has no value in any of these models."
        for name, values in (("t = n·h", standing.time), ("E", standing.loss)):
            if name != "E" or standing.level is None:
                yield f"Median {name}: {_columns(verdict, values) or 'unknown'}."
    if verdict.progress is not None and verdict.progress.blocks:
        falling, rising = verdict.progress.p
        yield (
            f"Training loss there: {signed(verdict.progress.effect)} % per doubling of "
            f"{verdict.factor}; exact p of a fall {falling:.2g}, of a rise {rising:.2g}."
        )
    for one in verdict.levels:
        yield _effect(verdict, f"at training loss {one.level:g}, {one.observation}", one.trend)
    for n, part in verdict.widths.items():
        yield _effect(verdict, f"at width {n}", part, each=True)
    levels = {f"{one.level:g}" for one in verdict.levels}
    for name, part in (*verdict.controls.items(), *verdict.beside.items()):
        if not (verdict.levels and name.rsplit(" ", 1)[-1] in levels):
            yield _effect(verdict, name, part)


def _columns(verdict: Verdict, values: np.ndarray) -> str:
    assert verdict.standing is not None
    pairs = zip(verdict.standing.factor, values, strict=True)
    return ", ".join(
        f"{value:.2g} at {verdict.factor} = {h:g}" for h, value in pairs if np.isfinite(value)
    )


def _boost(found: Boost) -> str:
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
    return (
        f"Points of test accuracy, {found.gradients} gradients for each side, of h = "
        f"{_listed(found.explicit_rates)} with μ and {_listed(found.plain_rates)} without: {each}."
    )


def _effect(verdict: Verdict, name: str, part: Trend, *, each: bool = False) -> str:
    """An effect, its interval and p. Without an interval, `each` lists the effects of all seeds."""
    # "λ" is not written "Λ" at the start of a sentence.
    start = name[0].upper() + name[1:] if name[0].isascii() else name
    limits = verdict.thresholds
    if not part.blocks:
        return f"{start}: no seed has {limits.rates} rates with a value."
    parts = [f"{signed(part.effect)} {verdict.unit} per doubling of {verdict.factor}"]
    if part.interval is not None:
        low, high = map(signed, part.interval)
        parts.append(f"{100 * limits.confidence:g} % interval {low} to {high}")
    elif each:
        pairs = zip(part.seed.tolist(), part.effects.tolist(), strict=True)
        parts.append(", ".join(f"{signed(effect)} (seed {seed})" for seed, effect in pairs))
    way, p = ("fall", part.p.falling) if verdict.falls else ("rise", part.p.rising)
    parts.append(f"exact p of a {way} {p:.2g}")
    parts.append(counted(part.blocks, "block"))
    return f"{start}: {'; '.join(parts)}."


def _range(values: np.ndarray) -> str:
    """The least and the greatest of the medians, to two digits."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "unknown"
    low, high = (number_of(end) for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"


def number_of(value: float) -> str:
    """To two digits, without an exponent where that is short."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if 100 <= rounded < 1e7 else f"{rounded:g}"


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)


def counted(number: int, name: str) -> str:
    """A number of things, with their name in the singular or plural."""
    return f"{number:,} {name}{'s' * (number != 1)}"


def signed(number: float) -> str:
    """With a sign and two decimals."""
    return f"{number:+.2f}".replace("-", "−")
