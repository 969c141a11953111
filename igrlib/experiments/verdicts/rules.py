"""The rules of a verdict: its thresholds, and the word that they give.

Source: Section 2, Predictions 2.1-2.4; chapter 7, *MNIST*.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from igrlib.experiments.verdicts.predictions import Question
from igrlib.experiments.verdicts.trends import Trend

__all__ = ["Thresholds", "Word", "p_of", "thresholds_of", "word_of"]

Word = Literal["holds", "holds in part", "does not hold", "cannot tell"]


@dataclass(frozen=True)
class Thresholds:
    """What a verdict takes. Effects are per doubling of h.

    Source: chapter 7, *MNIST*.
    """

    significance: float = 0.01
    """One-sided p: with four predictions, less than one false "holds" in 25 records. Intervals are
    of 1 − 2·significance, so that each end is as sure as a test."""
    level: float = 1e-2
    """The training loss of 2.1. At 10⁻¹, passed in the first epochs, paths have hardly parted; 10⁻³
    the smallest rates and widths may not reach in the steps of the `cpu` profile."""
    edge: float = 2.0
    """h·λ_max beyond which gradient descent is unstable on a quadratic."""
    least_squared_gradient: float = 5.0
    """Per cent: over the twentyfold rates of Figures A.3 to A.5, 4.3 doublings, a fifth in all;
    less could not be seen on the axes of the paper, which are logarithmic."""
    least_lambda_max: float = 5.0
    """Per cent: as for ‖∇E‖². Stability alone allows a fall by half."""
    least_accuracy: float = 0.05
    """Points: over the twentyfold rates 0.2, one and a half standard errors of an accuracy of 98 %
    on 10,000 images; less would move nobody to another rate."""
    least_area: float = 0.5
    """Points of mean accuracy: over the twentyfold rates 2, about what 100 draws of strong noise
    resolve."""
    rates: int = 3
    """Rates in a block: two say up or down, not whether it goes on."""
    blocks: int = 4
    """With 3 rates in each, the fewest of which one may be out of order by one place and p still be
    under 0.01: 9/6⁴, against 7/6³ with three."""
    seeds: int = 8
    """Different seeds for an interval, and so for saying that an effect is too small to matter."""
    widths: int = 2
    """Widths to speak of networks in general, as the predictions do."""

    @property
    def confidence(self) -> float:
        """Of the intervals."""
        return 1 - 2 * self.significance

    def least(self) -> dict[str, float]:
        """The least effect that matters, by prediction."""
        return {
            "2.1": self.least_squared_gradient,
            "2.2": self.least_lambda_max,
            "2.3": self.least_accuracy,
            "2.4": self.least_area,
        }


def thresholds_of(experiment: str, dataset: str, profile: str) -> Thresholds:
    """The thresholds for an experiment on a data set.

    Source: chapters 7, *MNIST*, 8, *ResNet-18*, and 9, *Explicit regularization*.
    """
    if dataset == "cifar10":
        # With few steps, a level that a pilot of another seed just reached at the smallest rate; a
        # quarter of the paper's steps should come to 1, all of them to 0.1.
        level = {"gpu": 1.0, "paper": 1e-1}.get(profile, 1.6)
        # Accuracies: over the fortyfold rates, 5.3 doublings, 1.3 points, two and a half standard
        # errors of one of 60 to 75 % on 10,000 images. Three seeds of five rates are as telling as
        # four of three: 1/120³.
        limits = Thresholds(level=level, least_accuracy=0.25, rates=4, blocks=3)
        if experiment == "egr-sweep":
            # Three rates, which three seeds must have in order: 1/6³. The largest step, of the
            # fewest, must come to the level.
            level = {"gpu": 1.0, "paper": 1.0}.get(profile, level)
            limits = replace(limits, level=level, rates=3)
        return limits
    if experiment == "egr-sweep":
        # Trained for a shorter time: 10⁻² is not reached.
        return Thresholds(level=1e-1)
    if profile == "paper":
        # Three seeds of five rates, one of which may diverge: 1/24³ where four are in order.
        return Thresholds(rates=4, blocks=3)
    return Thresholds()


def word_of(
    question: Question,
    total: Trend,
    widths: dict[int, Trend],
    controls: dict[str, Trend],
    limits: Thresholds,
) -> tuple[Word, str]:
    """The word that `judge` documents, and what there is to say for or against it."""
    if total.blocks < limits.blocks:
        return "cannot tell", f"At least {limits.blocks} blocks of {limits.rates} rates are needed."
    if p_of(question, total, against=True) < limits.significance:
        return "does not hold", "The trend goes significantly the other way."
    if _agrees(question, total, limits.significance):
        silent = [name for name, part in controls.items() if part.blocks < limits.blocks]
        aside = f" Too few blocks are left {', '.join(silent)}." if silent else ""
        faults = [*_faults_of_widths(question, widths, limits)]
        faults += [
            f"not found {name}"
            for name, part in controls.items()
            if name not in silent and not _agrees(question, part, limits.significance)
        ]
        return ("holds in part", f"But {'; '.join(faults)}.{aside}") if faults else ("holds", aside)
    # Each width is a test of its own: the more there are, the less each may be believed.
    each = limits.significance / len(widths)
    found = [
        n for n, w in widths.items() if w.blocks >= limits.blocks and _agrees(question, w, each)
    ]
    if found:
        return "holds in part", f"Not so over all widths, but at {', '.join(map(str, found))}."
    if _too_small(question, total):
        return "does not hold", f"Less than {question.least:g} {question.unit} does not matter."
    if p_of(question, total) < limits.significance:
        return "cannot tell", "The trend is significant but may be too small to matter."
    return "cannot tell", "The trend is not significant and may yet be large enough to matter."


def p_of(question: Question, part: Trend, *, against: bool = False) -> float:
    """The one-sided p-value in the predicted direction, or `against` it."""
    return part.p.falling if question.falls != against else part.p.rising


def _faults_of_widths(
    question: Question, widths: dict[int, Trend], limits: Thresholds
) -> Iterator[str]:
    for n, part in widths.items():
        if not part.blocks:
            yield f"not measured at width {n}"
        elif _predicted(question, part.effect) <= 0:
            yield f"of the other sign at width {n}"
        elif _too_small(question, part):
            yield f"too small to matter at width {n}"
    if len(widths) < limits.widths:
        yield f"at {len(widths)} width only"


def _predicted(question: Question, effect: float) -> float:
    """An effect, positive in the predicted direction."""
    return -effect if question.falls else effect


def _agrees(question: Question, part: Trend, significance: float) -> bool:
    large = _predicted(question, part.effect) >= question.least
    return large and p_of(question, part) < significance


def _too_small(question: Question, part: Trend) -> bool:
    """Whether the interval leaves out every effect that matters in the predicted direction."""
    ends = part.interval
    return ends is not None and max(_predicted(question, end) for end in ends) < question.least
