"""Memory known beforehand, against arrays as they are and against what the compiler plans."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from igrlib import data
from igrlib.experiments.building import build
from igrlib.experiments.networks import MLP
from igrlib.experiments.preflight import check_unit, memory_of
from igrlib.experiments.profiles.mlp import MLP_SWEEP
from igrlib.experiments.profiles.resnet import RESNET_SWEEP
from igrlib.experiments.runner import units
from igrlib.training import Ensemble, Layout
from igrlib.training.memory import available_bytes, check_fits
from igrlib.training.steps import Epoch

MIB = 2**20


@pytest.fixture(autouse=True)
def no_random_numbers(monkeypatch):
    """Models of zeros: to compile what draws them takes longer than all the rest."""
    init = Ensemble.init

    def zeros(ensemble):
        shapes = jax.eval_shape(lambda: init(ensemble))
        return ensemble.lay(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes))

    monkeypatch.setattr(Ensemble, "init", zeros)


def built(group=1, width=50, batch_size=16, mu=0.0):
    return of_arm(
        dataclasses.replace(
            MLP_SWEEP["digits"][0],
            widths=(width,),
            network=MLP(depth=3),
            learning_rates=(0.1, 0.2),
            num_seeds=(2,),
            seeds_per_unit=(2,),
            batch_sizes=(batch_size,),
            num_train=600,
            mus=(mu,),
        ),
        group,
    )


def of_arm(arm, group=1, loop=True):
    (unit,) = units([arm])
    layout = Layout(Mesh(np.array(jax.devices()[:1]), ("models",)), group, loop)
    dataset = data.load("digits")
    return memory_of(unit, dataset, layout), build(unit, dataset, layout)


def nbytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def test_data_parameters_and_copies_are_exact():
    terms, sweep = built(width=7, group=3)
    # Four models, filled up to two groups of three.
    # (64·7 + 7) + 2 (7² + 7) + (7·10 + 10) numbers of 4 bytes.
    assert terms["parameters"] == 6 * 4 * (64 * 7 + 7 + 2 * (7**2 + 7) + 80)
    assert terms["parameters"] == nbytes(sweep.state.params)
    assert terms["two chosen copies"] == nbytes(sweep.log.chosen)
    assert terms["data"] == nbytes(sweep.log.splits)
    assert terms["orders of examples"] == nbytes(sweep.ensemble._orders)


@pytest.mark.parametrize(
    ("group", "width", "batch_size", "mu"),
    [(1, 100, 500, 0.0), (4, 20, 16, 0.1)],
)
def test_the_workspace_is_what_the_compiler_plans_or_a_little_more(group, width, batch_size, mu):
    with jax.enable_x64(False):
        terms, sweep = built(group, width, batch_size, mu)
        ensemble, models = sweep.ensemble, sweep.state.variables
        block = ensemble.take(models, ensemble.blocks(range(len(ensemble.members)))[0])
        programs = [
            ensemble._advance.lower(
                sweep.state, ensemble._given, Epoch(ensemble._orders, *ensemble.data), 0, 10
            ),
            jax.jit(sweep.log.evaluator._program("lambda_max", "training")).lower(
                block, sweep.log.evaluator.splits.train
            ),
        ]
        planned = [p.compile().memory_analysis().temp_size_in_bytes for p in programs]
    workspace = sum(terms[name] for name in ("new parameters", "gradients", "activations"))
    assert max(planned) <= workspace <= 2.5 * max(planned)


@pytest.mark.usefixtures("quick_compiling")
@pytest.mark.parametrize(("mu", "largest"), [(0.0, "lambda_max"), (0.1, "step")])
def test_so_is_that_of_a_network_with_batch_norm(mu, largest):
    """λ_max is then of whole batches, and a penalty goes through the convolutions twice."""
    one = {"widths": (2,), "learning_rates": (0.1,), "num_seeds": (1,), "seeds_per_unit": (1,)}
    arm = dataclasses.replace(RESNET_SWEEP["digits"][0], mus=(mu,), **one)
    with jax.enable_x64(False):
        terms, sweep = of_arm(arm, loop=False)
        ensemble, models = sweep.ensemble, sweep.state.variables
        if largest == "step":
            program = jax.jit(lambda s: ensemble.advance(s, 0, 1)).lower(sweep.state)
        else:
            block = ensemble.take(models, ensemble.blocks([0])[0])
            program = jax.jit(sweep.log.evaluator._program("lambda_max", "training")).lower(
                block, sweep.log.evaluator.splits.train
            )
        planned = program.compile().memory_analysis().temp_size_in_bytes
    workspace = sum(terms[name] for name in ("new parameters", "gradients", "activations"))
    assert planned <= workspace <= 2.5 * planned


def test_what_fits_passes_and_what_does_not_is_refused_with_the_sum():
    terms = {"parameters": 3 * MIB, "data": MIB // 2}
    check_fits("it", terms, 7 * MIB // 2)
    check_fits("it", terms, None)
    with pytest.raises(MemoryError) as caught:
        check_fits("it", terms, 7 * MIB // 2 - 1)
    assert "it needs parameters 3.0 + data 0.5 = 3.5 MiB, and 3.5 MiB are free" in str(caught.value)


def test_on_the_cpu_all_devices_share_one_memory(monkeypatch, without_type_hook):
    arm = dataclasses.replace(MLP_SWEEP["digits"][0], num_seeds=(1,), seeds_per_unit=(1,))
    (unit,) = units([arm])
    dataset = data.load("digits")
    devices = [SimpleNamespace(platform=p) for p in ("cpu", "cpu", "gpu", "gpu")]
    free, mesh = {}, lambda d: SimpleNamespace(devices=np.array(d, object), size=len(d))
    layouts = {
        kind: SimpleNamespace(mesh=mesh(d), group=group, block=len(d) * group)
        for kind, d, group in (("cpu", devices[:2], 1), ("gpu", devices[2:], 2))
    }
    monkeypatch.setattr("igrlib.experiments.preflight.available_bytes", lambda d: free[d.platform])
    each = {kind: memory_of(unit, dataset, layout) for kind, layout in layouts.items()}
    held = each["cpu"]["parameters"] + each["cpu"]["two chosen copies"]
    needed = {
        "cpu": 2 * sum(each["cpu"].values()) + 2 * held,
        "gpu": sum(each["gpu"].values()),
    }
    for kind, layout in layouts.items():
        free[kind] = needed[kind]
        check_unit(unit, dataset, layout)
        free[kind] -= 1
        with pytest.raises(MemoryError, match=unit.name):
            check_unit(unit, dataset, layout)


CPU = SimpleNamespace(platform="cpu")


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


SYSTEM = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable: 5000 kB\n"}
JOB = "sys/fs/cgroup/batch/job/"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 5000 * 1024),
        ({JOB + "memory.max": "max\n", JOB + "memory.current": "7\n"}, 5000 * 1024),
        ({JOB + "memory.max": "4000\n", JOB + "memory.current": "1500\n"}, 2500),
        (
            {
                JOB + "memory.max": "4000\n",
                JOB + "memory.current": "1500\n",
                JOB + "memory.stat": "anon 1000\ninactive_file 300\n",
            },
            2800,
        ),
        ({JOB + "memory.max": "4000\n", JOB + "memory.current": "4500\n"}, 0),
        # The limit of a group holds for the groups in it.
        (
            {
                JOB + "memory.max": "max\n",
                JOB + "memory.current": "5\n",
                "sys/fs/cgroup/batch/memory.max": "900\n",
                "sys/fs/cgroup/batch/memory.current": "200\n",
            },
            700,
        ),
    ],
)
def test_free_memory_is_that_of_the_system_or_of_a_group(tmp_path, files, free):
    tree(tmp_path, {**SYSTEM, "proc/self/cgroup": "0::/batch/job\n", **files})
    assert available_bytes(CPU, tmp_path) == free


def test_groups_of_the_first_version_are_read_too(tmp_path):
    group = "sys/fs/cgroup/memory/job/memory."
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/other\n4:memory:/job\n",
        group + "limit_in_bytes": "6000",
        group + "usage_in_bytes": "5000",
        group + "stat": "inactive_file 1\ntotal_inactive_file 250\n",
    }
    assert available_bytes(CPU, tree(tmp_path, {**SYSTEM, **files})) == 1250


def test_without_proc_the_system_is_asked(tmp_path):
    free = available_bytes(CPU, tmp_path)
    assert free is None or free > 100 * MIB


def test_an_accelerator_tells_itself():
    stats = {"bytes_limit": 1000, "bytes_in_use": 300}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    assert available_bytes(gpu) == 700
    assert available_bytes(SimpleNamespace(platform="gpu", memory_stats=lambda: None)) is None


def test_this_machine_has_memory_and_not_more_than_it_can_address():
    free = available_bytes(jax.devices("cpu")[0])
    assert free is None or MIB < free < 2**50
