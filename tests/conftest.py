"""Tests run in float64, with silent broadcasting across ranks forbidden."""

import gc
import os

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Programs of tests are small: compiling them costs more than running them.
jax.config.update("jax_disable_most_optimizations", True)

# Traces leave little garbage: looking for it at every turn took a twentieth of the time.
gc.set_threshold(50_000, 20, 100)

pytest_plugins = ["pytester"]


@pytest.fixture
def without_type_hook():
    """As users have it: the import hook of the tests has an error of its own for a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="module")
def programs_of_a_module_end_with_it():
    """Else a worker would hold five gigabytes of compiled programs by the end."""
    yield
    jax.clear_caches()


def refuse_skip(report):
    """With IGR_NO_SKIPS=1 nothing may be left out quietly: a skip is a failure.

    Only a cluster that could not be had (IGR_WITHOUT_CLUSTER=1, see `.ci/run`) is left out.
    """
    if os.environ.get("IGR_NO_SKIPS") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        if os.environ.get("IGR_WITHOUT_CLUSTER") == "1" and "make cluster" in str(reason):
            return report
        report.outcome = "failed"
        report.longrepr = f"a skip where none is allowed: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return refuse_skip((yield))
