"""igrlib.experiments.runner: which models of a unit get which mark."""

import numpy as np
import pytest

from igrlib.experiments.runner import _marks

NAN = np.nan
# (best by validation, best by test, end), steps in all, training accuracies, and the marks.
MODELS = {
    "soon, not fitted": ((60, 50, 100), 100, (0.2, 0.99), ()),
    "validation in the last tenth": ((91, 90, 100), 100, (0.2, 0.95), ("censored_validation",)),
    "test in the last tenth": ((90, 91, 100), 100, (0.2, 0.95), ("censored_test",)),
    "both, at the end": (
        (100, 100, 100),
        100,
        (0.2, 0.9),
        ("censored_validation", "censored_test"),
    ),
    "early in a longer run": ((91, 95, 1000), 1000, (0.2, 0.9), ()),
    "fitted at the end": ((10, 10, 100), 100, (0.5, 1.0), ("fitted",)),
    "fitted once": ((10, 10, 100), 100, (1.0, 0.9), ("fitted",)),
    "fitted, then not measured": ((10, 10, 100), 100, (1.0, NAN), ("fitted",)),
    "never measured": ((-1, -1, -1), 100, (NAN, NAN), ()),
    "no validation split": ((-1, 95, 100), 100, (0.2, 0.9), ("censored_test",)),
}


@pytest.mark.parametrize("order", [1, -1])
def test_marks_are_those_of_the_models(order):
    rows = list(MODELS.values())[::order]
    arrays = {
        "chosen_step": np.array([chosen for chosen, *_ in rows]),
        "stop": np.array([stop for _, stop, *_ in rows]),
        "train_accuracy": np.array([accuracies for *_, accuracies, _ in rows]),
    }
    expected = {
        mark: [k for k, (*_, marks) in enumerate(rows) if mark in marks]
        for mark in ("censored_validation", "censored_test", "fitted")
    }
    assert _marks(arrays) == expected
