"""What a verdict on a sweep takes: fixed in the profile, and stored with each unit.

Source: Section 2, Predictions 2.1-2.4; chapters 7, *MNIST*, and 12, *What held*.
"""

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """What a verdict takes. Effects are per doubling of h. The defaults are those of MNIST.

    Source: chapter 12, *What held*.
    """

    significance: float = 0.01
    """One-sided p: with four predictions, less than one false finding in 25 records. Intervals are
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
    """Widths to speak of networks in general, as the predictions do; with fewer a verdict says that
    it is of that network."""

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
