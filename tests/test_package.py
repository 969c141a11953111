"""What `import igrlib` does and does not do, and what the package says of itself."""

import importlib
import importlib.metadata
import importlib.resources
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest

import igrlib
from igrlib.experiments.networks import NETWORKS

THEORY = (
    "igrlib.regularizer",
    "igrlib.backward_error",
    "igrlib.optimizers",
    "igrlib.curvature",
    "igrlib.edge",
    "igrlib.edge.principal",
    "igrlib.edge.central",
    "igrlib.edge.rod",
    "igrlib.probing",
    "igrlib.flows",
    "igrlib.comparison",
    "igrlib.geometry",
    "igrlib.ntk",
    "igrlib.two_parameter",
)
PLOTS = tuple(f"igrlib.plots.{name}" for name in ("style", "numbers", "order", "phase", "tangent"))
FIGURES = tuple(
    f"igrlib.plots.{name}"
    for name in (
        "chosen",
        "curves",
        "edge",
        "explicit",
        "factors",
        "matched",
        "paths",
        "resnet",
    )
)
PUBLIC = (
    *THEORY,
    *PLOTS,
    *FIGURES,
    "igrlib",
    "igrlib.plots",
    "igrlib.plots.mnist",
    "igrlib.experiments.records",
    "igrlib.experiments.data",
    "igrlib.experiments.table",
    "igrlib.experiments.verdicts.chance",
    "igrlib.experiments.measures",
    "igrlib.experiments.verdicts",
    "igrlib.experiments.verdicts.edge",
    "igrlib.experiments.verdicts.equal_loss",
    "igrlib.experiments.verdicts.flatness",
    "igrlib.experiments.verdicts.together",
    "igrlib.experiments.verdicts.ladder",
    "igrlib.experiments.verdicts.ratios",
    "igrlib.experiments.verdicts.strength",
    "igrlib.experiments.storage.files",
    "igrlib.experiments.storage.npz",
    "igrlib.experiments.networks",
    "igrlib.experiments.networks.model",
    *(network.__module__ for network in NETWORKS.values()),
    "igrlib.experiments.evaluation",
    "igrlib.experiments.schema",
    "igrlib.experiments.ensemble.batches",
    "igrlib.experiments.ensemble.ensemble",
    "igrlib.experiments.sweep",
    "igrlib.experiments.arm",
    "igrlib.experiments.building",
    "igrlib.experiments.folder",
    "igrlib.experiments.following",
    "igrlib.experiments.job",
    "igrlib.experiments.path_table",
    "igrlib.experiments.paths",
    "igrlib.experiments.profiles",
    "igrlib.experiments.profiles.mlp",
    "igrlib.experiments.runner",
    "igrlib.experiments.units",
)

# What the theory half promises to keep.
PROMISED = {
    "igrlib.regularizer": {
        "num_params",
        "implicit_gradient_regularizer",
        "regularization_rate",
        "modified_loss",
        "gradient_regularized_loss",
    },
    "igrlib.backward_error": {
        "euler_corrections",
        "modified_field",
        "field_from_iterates",
        "convergence_order",
    },
    "igrlib.flows": {"gradient_descent", "Trajectory", "flow"},
    "igrlib.geometry": {"slope", "normal_vector", "angle", "metric_tensor", "volume_element"},
    "igrlib.ntk": {"ntk", "ntk_quadratic_form"},
}


def fresh(code, **environment):
    """What a new interpreter prints as JSON, after importing igrlib without the import hook."""
    done = subprocess.run(
        [sys.executable, "-c", "import igrlib, jax, json, sys\n" + code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_importing_leaves_jax_as_it_is_and_loads_nothing_heavy():
    code = (
        "print(json.dumps([jax.config.jax_enable_x64, jax.config.jax_numpy_rank_promotion,"
        " sorted(sys.modules)]))"
    )
    x64, rank_promotion, modules = fresh(code, JAX_ENABLE_X64="0")
    assert x64 is False
    assert rank_promotion == "allow"
    assert not {"matplotlib", "flax", "optax", "tensorflow", "sklearn", "sympy"} & set(modules)
    assert "igrlib.plots" not in modules
    assert set(THEORY) <= set(modules)


@pytest.mark.slow
def test_the_plots_of_the_theory_load_nothing_of_the_experiments():
    modules = set(fresh("import igrlib.plots\nprint(json.dumps(sorted(sys.modules)))"))
    assert set(PLOTS) <= modules
    assert not {"flax", "optax", "igrlib.experiments"} & modules


@pytest.mark.slow
def test_without_64_bit_mode_everything_is_float32():
    code = (
        "import jax.numpy as jnp, numpy as np\n"
        "loss = lambda p: (p ** 4).sum()\n"
        "start = np.array([0.5, -1.0])\n"
        "run = igrlib.gradient_descent(loss, start, 0.01, 2)\n"
        "f, f1 = igrlib.euler_corrections(igrlib.gradient_field(loss), 1)(start)\n"
        "r = igrlib.implicit_gradient_regularizer(loss)(start)\n"
        "end = igrlib.flow(igrlib.gradient_field(loss), start, np.array([0.0, 0.02]))\n"
        "print(json.dumps([str(x.dtype) for x in (run.params, f1, r, end)]"
        " + [float(r), float(f1[1]), float(end[1, 1])]))"
    )
    *dtypes, regularizer, correction, end = fresh(code, JAX_ENABLE_X64="0")
    assert dtypes == ["float32"] * 4
    assert regularizer == pytest.approx((0.25 + 16) / 2, rel=1e-6)
    # For E = θ⁴: f_1 = −½·12θ²·4θ³, and θ′ = −4θ³ has θ = −1/√(1 + 8t) from −1.
    assert correction == pytest.approx(24, rel=1e-6)
    assert end == pytest.approx(-1 / 1.16**0.5, rel=1e-4)


@pytest.mark.slow
def test_64_bit_mode_set_by_the_caller_stays():
    assert fresh("print(json.dumps(jax.config.jax_enable_x64))", JAX_ENABLE_X64="1") is True


def defined_here(module):
    """Public functions and classes written in the module itself."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isroutine(value) or inspect.isclass(value))
        and getattr(value, "__module__", None) == module.__name__
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_honest(name):
    module = importlib.import_module(name)
    exported = module.__all__
    assert sorted(set(exported)) == sorted(exported)
    assert all(hasattr(module, item) for item in exported)
    assert defined_here(module) <= set(exported)
    namespace = {}
    exec(f"from {name} import *", namespace)
    assert set(exported) <= set(namespace)


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_names_are_public(name):
    assert PROMISED[name] <= set(importlib.import_module(name).__all__)


def test_the_top_level_holds_the_same_objects():
    for module in (igrlib.regularizer, igrlib.backward_error, igrlib.flows, igrlib.comparison):
        for item in module.__all__:
            assert item in igrlib.__all__
            assert getattr(igrlib, item) is getattr(module, item)


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_says_what_it_is(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for item in defined_here(module):
        doc = getattr(module, item).__doc__
        assert doc, f"{name}.{item} has no docstring"
        # A NamedTuple or dataclass without one gets its signature instead.
        assert not doc.startswith(f"{item}("), f"{name}.{item} has no docstring"
        assert doc.strip().splitlines()[0].rstrip().endswith((".", ":", ",", "/", "‖²", "loss"))


def test_every_theory_and_figure_docstring_names_its_source():
    missing = [
        f"{name}.{item}"
        for name in (*THEORY, *FIGURES)
        for item in sorted(defined_here(importlib.import_module(name)))
        if not re.search(r"\bSource: \S", getattr(importlib.import_module(name), item).__doc__)
    ]
    assert missing == []


@pytest.mark.parametrize("name", [*THEORY, *PLOTS, *FIGURES])
def test_public_functions_are_annotated(name):
    module = importlib.import_module(name)
    for item in defined_here(module):
        value = getattr(module, item)
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert signature.return_annotation is not inspect.Signature.empty
            for parameter in signature.parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, f"{item}: {parameter}"


def test_the_version_is_that_of_the_metadata():
    assert igrlib.__version__ == importlib.metadata.version("igrlib")
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z.+-].*)?", igrlib.__version__)


def test_types_are_published():
    assert importlib.resources.files("igrlib").joinpath("py.typed").is_file()


def test_shapes_are_checked_in_these_tests():
    """Without the import hook the shapes in the signatures would go unread."""
    with pytest.raises(jaxtyping.TypeCheckError):
        igrlib.regularization_rate("0.1", 3)


WITHOUT_EXTRA = """
import importlib, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"filelock", "flax", "optax", "pandas", "psutil",
                                      "sklearn", "tqdm", "tensorflow_datasets", "xarray"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
messages = {}
for module in pkgutil.walk_packages(igrlib.__path__, "igrlib.", onerror=lambda name: None):
    if module.name == "igrlib.__main__":
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        messages[module.name] = str(error)
from igrlib.experiments import cli, data
status = {}
for argv in (["list"], ["run", "mlp-sweep"], ["slurm", "mlp-sweep"], ["verdicts"]):
    status[argv[0]] = cli.main(argv)
try:
    data.load("digits")
except ImportError as error:
    messages["igrlib.experiments.data.load"] = str(error)
print(json.dumps([messages, status]))
"""


@pytest.mark.slow
def test_without_its_extra_every_module_of_the_experiments_says_which(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    messages, status = fresh(WITHOUT_EXTRA, PYTHONPATH=str(Path(igrlib.__file__).parents[1]))
    wanted = 'Install with: pip install "igrlib[experiments]"'
    assert {name: text for name, text in messages.items() if wanted not in text} == {}
    some = ("data.load", "networks", "table", "runner")
    assert {f"igrlib.experiments.{name}" for name in some} <= set(messages)
    assert status == {"list": 2, "run": 2, "slurm": 2, "verdicts": 2}


def test_every_package_of_the_lock_has_its_hashes():
    """One without would make pip refuse them all; none at all, and it would ask for none."""
    lock = (Path(igrlib.__file__).parents[1] / "requirements.txt").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", "\n" + re.sub(r"(?m)^ *#.*\n", "", lock).strip())[1:]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(
            r"[A-Za-z0-9._-]+(\[[a-z, ]+\])?==\S+( ; .+?)? \\\n +--hash=sha256:[0-9a-f]{64}", entry
        ), entry


@pytest.mark.slow
@pytest.mark.parametrize("module", ["records", "table", "path_table", "verdicts"])
def test_reading_a_record_imports_nothing_that_trains(module):
    """Verdicts look up the thresholds of older records in the profiles, which name networks."""
    modules = fresh(f"import igrlib.experiments.{module}\nprint(json.dumps(sorted(sys.modules)))")
    trains = {"optax", "igrlib.experiments.ensemble", "igrlib.experiments.measures"}
    unwanted = trains if module == "verdicts" else trains | {"flax"}
    assert unwanted & set(modules) == set()
