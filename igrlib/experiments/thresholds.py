"""The thresholds of a verdict on a sweep: fixed in the profile and stored with each unit.

Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 12, *What held*.
"""

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a verdict. Effects are per doubling of h. The defaults are those of MNIST.

    Source: chapter 12, *What held*.
    """

    significance: float = 0.01
    """One-sided p: with four predictions, less than one false finding in 25 records. Intervals are
    of 1 − 2·significance, so that each end is as sure as a test."""
    level: float = 1e-2
    """The training loss of P1. At 10⁻¹, which runs pass in their first epochs, paths have hardly
    parted; 10⁻³ may be out of reach of the smallest rates and widths of the `cpu` profile."""
    edge: float = 2.0
    """h·λ_max beyond which gradient descent is unstable on a quadratic."""
    least_squared_gradient: float = 5.0
    """Per cent: a fifth in all over the twentyfold rates of Figures A.3 to A.5, 4.3 doublings; less
    could not be seen on the logarithmic axes of the paper."""
    least_lambda_max: float = 5.0
    """Per cent: as for ‖∇E‖². Stability alone allows a fall by half."""
    least_accuracy: float = 0.05
    """Points: 0.2 over the twentyfold rates, one and a half standard errors of an accuracy of 98 %
    on 10,000 images; nobody would change the rate for less."""
    least_area: float = 0.5
    """Points of mean accuracy: 2 over the twentyfold rates, about what 100 draws of strong noise
    resolve."""
    rates: int = 3
    """Rates in a block: two show a rise or a fall, not whether it goes on."""
    blocks: int = 4
    """With 3 rates in each block, the fewest blocks in which one exchange of neighbours still
    leaves p under 0.01: 9/6⁴, against 7/6³ with three."""
    seeds: int = 8
    """Different seeds that an interval takes, and so the verdict that an effect is too small."""
    widths: int = 2
    """Widths to speak of networks in general, as the predictions do; with fewer the verdict says
    that it is about one network."""

    @property
    def confidence(self) -> float:
        """The confidence of the intervals."""
        return 1 - 2 * self.significance

    def least(self) -> dict[str, float]:
        """The least effect that matters, by prediction."""
        return {
            "2.1": self.least_squared_gradient,
            "2.2": self.least_lambda_max,
            "2.3": self.least_accuracy,
            "2.4": self.least_area,
        }
