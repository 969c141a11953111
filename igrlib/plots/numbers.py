"""A table of numbers as the output of a cell: Markdown on a page, aligned text elsewhere."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["NumberTable", "number_table"]


_NUMBER = re.compile(r"[+\-−]?\d[\d.,]*(e[+\-−]?\d+)?( %)?|–")


@dataclass(frozen=True, repr=False)
class NumberTable:
    """The cells of a table as text, a heading for each column, and which columns hold numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    of_numbers: tuple[bool, ...]

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [">" if right else "<" for right in self.of_numbers]
        return "\n".join(
            "  ".join(
                f"{cell:{side}{width}}"
                for cell, side, width in zip(line, sides, widths, strict=True)
            ).rstrip()
            for line in lines
        )

    def _repr_markdown_(self) -> str:
        marks = ["---:" if right else ":---" for right in self.of_numbers]
        return "\n".join(f"| {' | '.join(line)} |" for line in [self.head, marks, *self.rows])


def number_table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], formats: str | Sequence[str] = "g"
) -> NumberTable:
    """Rows of text and numbers as a table, with the numbers of a column one below the other.

    `formats` are the format specifications of the columns, or one for all of them; text stays as it
    is, None and NaN become a dash, a minus is a minus, and what rounds to 0 has no sign. A column
    after the first that holds nothing but numbers, though as text, is one of numbers too.

    Raises `ValueError` for a row, or formats, that the headings do not fit.

        >>> number_table(["E", "change (%)"], [["0.1", -22.4], ["0.01", float("nan")]], "+.0f")
        E     change (%)
        0.1          −22
        0.01           –
    """
    specs = [formats] * len(head) if isinstance(formats, str) else list(formats)
    for name, one in (("formats", specs), *((f"row {k}", row) for k, row in enumerate(rows))):
        if len(one) != len(head):
            raise ValueError(f"{name} must have {len(head)} entries as head, got {len(one)}")
    told = tuple(
        tuple(_cell(value, spec) for value, spec in zip(row, specs, strict=True)) for row in rows
    )
    of_numbers = [
        any(not isinstance(row[k], str) for row in rows)
        or (k > 0 and all(_NUMBER.fullmatch(row[k]) for row in told))
        for k in range(len(head))
    ]
    return NumberTable(tuple(head), told, tuple(of_numbers))


def _cell(value: Any, spec: str) -> str:
    if isinstance(value, str):
        return value.replace("-", "−") if _NUMBER.fullmatch(value) else value
    if value is None or value != value:
        return "–"
    told = format(value, spec)
    if not any(digit in told for digit in "123456789"):
        told = told.lstrip("+-")
    return told.replace("-", "−")
