"""The errata page and the tests that hold it name each other."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "book" / "errata.md").read_text(encoding="utf-8")
FINDINGS, _, REST = PAGE.partition("\n## Checked and found right\n")
RIGHT, _, OPEN = REST.partition("\n## Ambiguities the paper leaves open\n")
NAME = re.compile(r"`test_errata\.py::(\w+)`")


def names_of_tests():
    tree = ast.parse((TESTS / "test_errata.py").read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_findings_slips_and_remarks_stand_apart():
    assert PAGE.startswith("(app-errata)=\n# ")
    headings = re.findall(r"^## (.*)$", FINDINGS, flags=re.M)
    assert headings == ["Findings", "Slips of print, in the copy we read", "Remarks, not errors"]


def test_every_finding_names_a_test():
    sections = re.split(r"^### ", FINDINGS, flags=re.M)[1:]
    assert len(sections) > 20
    for section in sections:
        assert NAME.search(section), section.splitlines()[0]
        for part in ("*Where:*", "*Found:*", "*Chapter"):
            assert part in section, (part, section.splitlines()[0])


def test_every_confirmation_names_a_test():
    items = re.split(r"^- ", RIGHT, flags=re.M)[1:]
    assert len(items) > 5
    for item in items:
        assert NAME.search(item), item


def test_page_and_tests_agree():
    named, defined = set(NAME.findall(FINDINGS + RIGHT)), names_of_tests()
    assert len(defined) == len(set(defined))
    assert named == set(defined)
    assert not NAME.search(OPEN)
