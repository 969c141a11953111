"""igrlib.plots.number_table: what a reader sees of rows written down here."""

import numpy as np
import pytest

from igrlib.plots import number_table

ROWS = [["full", 0.5, -1234.6], ["8", float("nan"), 7], ["32", None, np.float64(0.04)]]


def test_on_a_page_numbers_stand_on_the_right_and_text_on_the_left():
    table = number_table(["batch", "$h$", "change"], ROWS, ["", ".2f", "+.1f"])
    assert table._repr_markdown_().splitlines() == [
        "| batch | $h$ | change |",
        "| :--- | ---: | ---: |",
        "| full | 0.50 | −1234.6 |",
        "| 8 | – | +7.0 |",
        "| 32 | – | 0.0 |",
    ]


def test_elsewhere_it_is_aligned_text():
    assert repr(number_table(["batch", "h", "change"], ROWS, "g")).splitlines() == [
        "batch    h   change",
        "full   0.5  −1234.6",
        "8        –        7",
        "32       –     0.04",
    ]


def test_numbers_given_as_text_stand_on_the_right_too_with_a_minus():
    rows = [["8", "-60", "1.5e-05", "4 to 5"], ["16", "+3 %", "–", "6 to 7"]]
    assert number_table(["batch", "a", "b", "span"], rows)._repr_markdown_().splitlines() == [
        "| batch | a | b | span |",
        "| :--- | ---: | ---: | :--- |",
        "| 8 | −60 | 1.5e−05 | 4 to 5 |",
        "| 16 | +3 % | – | 6 to 7 |",
    ]


@pytest.mark.parametrize(("value", "shown"), [(-0.04, "0.0"), (0.04, "0.0"), (-0.06, "−0.1")])
def test_what_rounds_to_zero_has_no_sign(value, shown):
    assert number_table(["a"], [[value]], "+.1f").rows == ((shown,),)


@pytest.mark.parametrize(
    ("rows", "formats", "said"),
    [
        ([["a", 1], ["b"]], "g", "row 1 must have 2 entries as head, got 1"),
        ([["a", 1]], ["g"], "formats must have 2 entries as head, got 1"),
    ],
)
def test_refuses_what_the_headings_do_not_fit(rows, formats, said):
    with pytest.raises(ValueError, match=said):
        number_table(["a", "b"], rows, formats)
