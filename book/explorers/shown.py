"""The explorers of the chapters, each with the data that its script needs.

Source: chapters 2, 3, 4, 8, 10 and 11.
"""

from collections.abc import Mapping
from typing import Any

from explorers._night import dark
from explorers.page import Explorer
from igrlib import two_parameter as tp
from igrlib.plots import learning_rate_colors

__all__ = [
    "catapult_explorer",
    "dial_explorer",
    "loss_explorer",
    "optimizer_explorer",
    "parabola_explorer",
    "phase_explorer",
    "rescale_explorer",
    "step_explorer",
]

RUNS = [(0.2, 3.2, h) for h in (0.19, 0.21, 0.25, 0.35, 0.4)] + [(2.8, 3.5, 0.18)]
"""The start (a, b) and h of the runs of the catapult's menu; the last is Figure A.1's."""


LOSSES = [
    ("curved valley", "(1 - a)^2/2 + 2*(b - a^2)^2", (-0.6, 0.9), 0.05),
    ("bowl", "(a^2 + 4*b^2)/2", (1.5, 1.1), 0.1),
    ("river", "4*(b - sin(a))^2 + 2*softplus(1 - a)", (-1.5, -0.6), 0.06),
    ("Rosenbrock", "(1 - a)^2/100 + (b - a^2)^2", (-1.2, 1.0), 0.05),
    ("logistic", "softplus(-a - 2*b) + softplus(b - a)", (-1.0, 1.5), 0.4),
]
"""Examples of *your own loss*: name, formula, start (a, b), h; Rosenbrock's is divided by 100."""


def step_explorer(figure: str) -> Explorer:
    """One step of gradient descent beside the flows of E and of Ẽ, on a loss that the reader picks.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: Section 3; chapter 2, *The theorem*.
    """
    title = "One step and the two flows: move the start, the learning rate, change the loss"
    return Explorer("step", title, figure)


def loss_explorer(figure: str) -> Explorer:
    """Steps, both flows, f_1 and the fitted orders of a loss of a and b that the reader types.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: Section 3, Theorem 3.1; chapter 2, *The theorem*.
    """
    presets = [
        {"name": name, "formula": formula, "start": list(start), "h": h}
        for name, formula, start, h in LOSSES
    ]
    title = "Your own loss: type a formula of a and b, and see whether the theorem holds for it"
    return Explorer("loss", title, figure, {"presets": presets})


def phase_explorer(figure: str) -> Explorer:
    """Four ways down in the phase plane of f(x; a, b) = abx, with every setting of Table A.1.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: Section 5, Figures 1 and A.1, Table A.1; chapter 3, *Two parameters*.
    """
    presets = [
        {
            "point": point,
            "size": size,
            "start": [float(value) for value in each.start],
            "h": h,
            "mu": each.mu,
        }
        for point, each in (("I", tp.POINT_I), ("II", tp.POINT_II))
        for size, h in _steps(each)
    ]
    # First what Figure 1a shows of point I.
    presets.sort(key=lambda preset: preset["size"] != "moderate")
    x, y = tp.POINT_I.x, tp.POINT_I.y
    # Of the slider of μ: from, to, and its step.
    data = {"x": x, "y": y, "presets": presets, "mu": [0.0, 2.0, 0.005]}
    data["flattest"] = [float(value) for value in tp.flattest_minimum(x, y)]
    title = "Four ways down: move the start, the learning rate and the explicit rate"
    return Explorer("phase", title, figure, data)


def optimizer_explorer(figure: str) -> Explorer:
    """The steps of an optimizer beside the flows of F_0 and F_0 + h·F_1, on E = (ab − 1)²/2.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: chapter 11, *Other optimizers*.
    """
    title = "An optimizer and its two flows: choose it, move the start, switch δ off and on"
    return Explorer("optimizer", title, figure)


def parabola_explorer(figure: str) -> Explorer:
    """One step and the flows of E and Ẽ on a parabola of curvature s, for hs from 0 to 2.5.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: chapter 10, *The edge of stability*.
    """
    title = "A step on a parabola: move hs, the step size times the curvature, from 0 to 2.5"
    return Explorer("parabola", title, figure)


def catapult_explorer(figure: str) -> Explorer:
    """Gradient descent of f(x; a, b) = abx over the region λ_max > 2/h, with its loss and hλ_max.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: chapter 10, *The edge of stability*.
    """
    data = {
        "x": tp.POINT_I.x,
        "y": tp.POINT_I.y,
        "presets": [{"start": [a, b], "h": h} for a, b, h in RUNS],
        "first": 0,
        "h": [0.01, 0.6],
        "window": [-4.2, 4.2],
    }
    title = "The catapult: move the start and the learning rate across the edge"
    return Explorer("catapult", title, figure, data)


def dial_explorer(figure: str) -> Explorer:
    """Gradient descent of a scale-invariant weight, with three steps, as the hands of a dial.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: chapter 8, *ResNet-18*.
    """
    title = "The dial: the hand is the function, and steps make the weight longer"
    # Of the three steps, in the order of the script, on a light page and on a dark one.
    scale = learning_rate_colors([1 / 9, 1 / 3, 1.0])
    colors = ["#" + bytes(round(255 * part) for part in color[:3]).hex() for color in scale]
    return Explorer("dial", title, figure, {"colors": [[c, "#" + dark(c[1:])] for c in colors]})


def rescale_explorer(
    figure: str, points: Mapping[str, Any], network: Mapping[str, Any], found: Mapping[str, Any]
) -> Explorer:
    """One function of a ReLU network of one input, at parameters rescaled by c, with its measures.

    `figure` is the label of the still figure that a reader without scripts is sent to. `points` has
    the `inputs`, increasing, and the `targets`; `network` the weights `in`, `bias` and `out`, an
    array for each, at c = 1. `found` has the `scales` c, one of them 1, and for each the `losses`,
    `slopes` and `sharpness`.

    Source: chapter 4, *A change of parameters*.
    """

    def rounded(values: Any) -> list[float]:
        return [float(f"{value:.5g}") for value in values]

    data = {name: rounded(values) for name, values in {**points, **found}.items()}
    weights = {"into": network["in"], "bias": network["bias"], "out": network["out"]}
    weights = {name: rounded(values) for name, values in weights.items()}
    title = "One function, many slopes: divide by c on the way in, multiply by c on the way out"
    return Explorer("rescale", title, figure, {**data, "network": weights})


def _steps(setting: tp.Setting) -> list[tuple[str, float]]:
    steps = [("small", setting.h_small), ("moderate", setting.h_moderate)]
    return steps if setting.h_large is None else [*steps, ("large", setting.h_large)]
