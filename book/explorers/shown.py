"""The explorers of the chapters, each with the data that its script needs.

Source: chapters 2, 3 and 11.
"""

from explorers.page import Explorer
from igrlib import two_parameter as tp

__all__ = ["optimizer_explorer", "phase_explorer", "step_explorer"]


def step_explorer(figure: str) -> Explorer:
    """One step of gradient descent beside the flows of E and of Ẽ, on a loss that the reader picks.

    `figure` is the label of the still figure that a reader without scripts is sent to.

    Source: Section 3; chapter 2, *The theorem*.
    """
    title = "One step and the two flows: move the start, the learning rate, change the loss"
    return Explorer("step", title, figure)


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
            # A large step leaps to the other branch of minima.
            "window": [-4.2, 4.2] if size == "large" else [0, 4],
        }
        for point, each in (("I", tp.POINT_I), ("II", tp.POINT_II))
        for size, h in _steps(each)
    ]
    # First what Figure 1a shows of point I.
    presets.sort(key=lambda preset: preset["size"] != "moderate")
    x, y = tp.POINT_I.x, tp.POINT_I.y
    data = {"x": x, "y": y, "presets": presets, "h": [1e-6, 0.3], "mu": [1e-3, 2.0]}
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


def _steps(setting: tp.Setting) -> list[tuple[str, float]]:
    steps = [("small", setting.h_small), ("moderate", setting.h_moderate)]
    return steps if setting.h_large is None else [*steps, ("large", setting.h_large)]
