"""How nbval compares a chapter's fresh outputs with the stored ones.

Decimals may differ in their last digits; integers and words must agree exactly. A cell
that was never executed has nothing to compare with, so it fails.
"""

import json
import math
import re

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

RELATIVE = 5e-3  # a stored number changed by 1 % fails
ABSOLUTE = 1e-12  # rounding noise around zero

# A number with a point or an exponent that is not part of a word or a version (1.2.3).
DECIMAL = re.compile(
    r"(?<![\w.])[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)"
    r"(?!\w|\.\d)"
)


def same_decimal(stored, fresh):
    if stored.endswith(".") and fresh.endswith("."):  # an integer before a full stop
        return stored == fresh
    return math.isclose(float(stored), float(fresh), rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def words(text):
    """The text without its decimals; blanks collapse: columns move with a digit."""
    return re.sub(r"\s+", " ", DECIMAL.sub(" # ", text)).strip()


def same_output(stored, fresh):
    if words(stored) != words(fresh):
        return False
    return all(map(same_decimal, DECIMAL.findall(stored), DECIMAL.findall(fresh)))


class Output(str):
    """An output's text, equal to another if words agree and decimals are close."""

    __hash__ = None

    def __eq__(self, other):
        return same_output(str(self), str(other))

    def __ne__(self, other):
        return not self == other


def as_output(value):
    return Output(
        value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    )


def pytest_itemcollected(item):
    if isinstance(item, IPyNbCell):
        # nbval passes both sides of every comparison through this method.
        item.sanitize = as_output


def pytest_collectstart(collector):
    if isinstance(collector, IPyNbFile):
        glued = "application/papermill.record/"
        images = tuple(
            p + f"image/{kind}"
            for p in ("", glued)
            for kind in ("png", "jpeg", "svg+xml")
        )
        collector.skip_compare += images


def pytest_runtest_setup(item):
    if isinstance(item, IPyNbCell) and item.cell.execution_count is None:
        pytest.fail("this cell was never executed: run `make record`", pytrace=False)
