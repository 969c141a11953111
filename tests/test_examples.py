"""The examples in docstrings: every public function of the theory has one, and it runs."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import jax.numpy as jnp
import pytest
from helpers import enable_x64
from test_package import PUBLIC, THEORY

import igrlib

ROOT = Path(__file__).resolve().parent.parent
MODULES = [igrlib, *map(importlib.import_module, THEORY)]
FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for module in MODULES
    for function in (getattr(module, name) for name in module.__all__)
    if inspect.isfunction(function)
}


def run_example(function, name):
    """How many lines ran, and what came out otherwise than the docstring says."""
    # As the introduction of the package says, nothing else is there before.
    globs = {"ig": igrlib, "jnp": jnp}
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, False, globs)
    report = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    return result.attempted, "".join(report)


def test_the_functions_of_the_theory_are_found():
    """Also where the hook that checks types has wrapped them."""
    assert {"igrlib.flows.flow", "igrlib.ntk.ntk", "igrlib.two_parameter.loss"} <= set(FUNCTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_an_example_that_runs(name, wide):
    with enable_x64(wide):
        lines, failures = run_example(FUNCTIONS[name], name)
    assert lines, f"{name} has no example"
    assert not failures, failures


def examples_of(module):
    found = doctest.DocTestFinder().find(importlib.import_module(module), globs={"jnp": jnp})
    return [test for test in found if test.examples]


PARTS = (
    "igrlib.experiments.ensemble.members",
    "igrlib.experiments.records.metadata",
    "igrlib.experiments.verdicts.trends",
)
LABORATORY = {
    test.name: test
    for module in (*PUBLIC, *PARTS)
    if module.startswith("igrlib.experiments")
    for test in examples_of(module)
}


@pytest.mark.parametrize("name", LABORATORY)
def test_the_examples_of_the_laboratory_run(name):
    report = []
    result = doctest.DocTestRunner(verbose=False).run(LABORATORY[name], out=report.append)
    assert not result.failed, "".join(report)


def test_the_quick_start_of_the_reference_runs():
    text = (ROOT / "book" / "api" / "theory.md").read_text(encoding="utf-8")
    start = text[: text.index("## ")]
    code = "\n".join(re.findall(r"```pycon\n(.*?)```", start, re.S))
    test = doctest.DocTestParser().get_doctest(code, {}, "theory.md", None, 0)
    report = []
    assert doctest.DocTestRunner(verbose=False).run(test, out=report.append).failed == 0, report
