"""The benchmarks' arithmetic against numbers worked out by hand, and each comparison once, tiny."""

import copy
import dataclasses
import functools
import importlib.util
import json
import os
import re
import time

import jax
import jax.numpy as jnp
import jsonschema
import nbformat
import numpy as np
import optax
import pytest

from benchmarks import (
    corrections,
    devices,
    edge,
    kernel,
    laid,
    memory,
    peak,
    peers,
    problems,
    pytorch,
    regularized,
    residual,
    rounds,
    trainer,
    workers,
)
from benchmarks.__main__ import main
from benchmarks.found import SCHEMA, as_json, of_turns
from benchmarks.problems import Problem
from benchmarks.sleepers import FLAG, failing, flagged, sleeper
from benchmarks.workers import Competitor
from igrlib.experiments.arm import Arm
from igrlib.experiments.measures import mean_cross_entropy
from igrlib.experiments.networks import ResNet18, num_params
from igrlib.experiments.profiles import EXPERIMENTS
from igrlib.experiments.runner import units
from igrlib.regularizer import gradient_regularized_value_and_grad

MLP, RESNET = Problem("mlp", 4, 8, 3), Problem("resnet18", 2, 4, 8)

# PyTorch is outside of the lock. Where it is missing these say so and cannot pass.
with_torch = pytest.mark.xfail(
    importlib.util.find_spec("torch") is None, raises=ModuleNotFoundError, reason="no PyTorch"
)


def test_a_summary_is_the_median_and_the_range():
    assert rounds.summary([3.0, 1.0, 2.0, 9.0]) == (2.5, 1.0, 9.0)


def test_ratios_are_taken_within_a_round():
    # Each round 2 to 4 times as fast, though the slow one's best beats the fast one's worst.
    found = rounds.ratios([2.0, 9.0, 40.0], [1.0, 3.0, 10.0])
    assert found == (3.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="shorter"):
        rounds.ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("value", "digits"), [(1234.56, "1,235"), (99.96, "100.0"), (12.345, "12.3"), (0.456, "0.46")]
)
def test_numbers_are_short(value, digits):
    assert str(rounds.Summary(value, value, value)) == f"{digits} ({digits} to {digits})"


def test_a_quiet_machine_is_not_complained_of():
    times = {"a": [1.0, 1.2, 1.1], "b": [5.0, 5.0, 5.0]}
    # One busy round does not move the median; where the system does not tell, nothing is said.
    others = {"a": [0.02, 0.9, 0.05], "b": [None, None, None]}
    assert rounds.complaints(times, others) == []


def test_a_noisy_machine_is():
    times = {"a": [1.0, 1.4, 1.1], "b": [5.0, 5.0, 6.5]}
    others = {"a": [0.0, 0.0, 0.2], "b": [0.2, 0.0, 0.3]}
    first, second = rounds.complaints(times, others)
    assert first == "the slowest round took up to 1.40 times the fastest (a)"
    assert second == "other programs took up to 20% of the machine (b)"


def test_the_share_of_others_is_what_is_left_of_the_work(tmp_path):
    # Jiffies: user, nice, system, idle, iowait, irq, softirq, steal, and guest, in user already.
    rate = os.sysconf("SC_CLK_TCK")
    stat = tmp_path / "stat"

    def look(user, idle, steal):
        ticks = [user, 0, 0, idle, 0, 0, 0, steal, user, 0]
        stat.write_text("cpu  " + " ".join(str(rate * t) for t in ticks) + "\ncpu0 1 2 3\n")
        return workers.machine_seconds(stat)

    before, after = look(10, 20, 0), look(16, 22, 2)
    # Ten seconds of cores passed, two idle; three of the eight at work were our own.
    assert workers.others_share(before, after, own=3.0) == pytest.approx(0.5)
    assert workers.others_share(before, after, own=9.0) == 0.0
    assert workers.machine_seconds(tmp_path / "nothing") is None
    assert workers.others_share(None, after, own=0.0) is None


def test_competitors_take_turns_in_processes_of_their_own():
    racers = [
        Competitor("long", sleeper, (0.1, 1)),
        Competitor("ten at once", sleeper, (0.1, 10)),
        Competitor("told", flagged, (0.1, 1), {FLAG: "on"}),
    ]
    turns = workers.take_turns(racers, 2)
    assert [len(times) for times in turns.times.values()] == [2, 2, 2]
    # Sleeping takes at least as long as it says; the rest is the machine's.
    assert min(turns.times["long"]) >= 0.1
    assert 0.01 <= min(turns.times["ten at once"]) < 0.1
    assert 0.1 <= min(turns.times["told"]) < 1
    assert FLAG not in os.environ


def test_a_paced_job_fills_a_turn():
    done = []

    def repeat(times):
        done.append(times)
        time.sleep(0.02 * times)

    job = workers.paced(repeat, 0.2)
    # Sleeping takes at least as long as it says.
    assert 1 <= job.units <= 10
    job.work()
    assert done == [1, 1, 1, 1, job.units]
    assert workers.paced(repeat, 1e-3).units == 1


def test_a_competitor_that_fails_is_named():
    with pytest.raises(RuntimeError, match="broken: ValueError: no such luck"):
        workers.take_turns([Competitor("broken", failing)], 1)


@pytest.mark.parametrize(("width", "side"), [(50, 28), (7, 3)])
def test_the_parameters_and_flop_of_the_network(width, side):
    init, _ = peers.network(width, side)
    shapes = jax.eval_shape(init, jax.random.key(0))
    m = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert peak.num_params(width, side) == m
    assert peak.flop(width, 32, side) == 6 * 32 * m


def test_the_report_of_the_trainer():
    sizes = trainer.Sizes(batch_size=32, side=28)
    flop = peak.flop(200, 32, 28)
    times = {
        trainer.ENSEMBLE: [1.0, 1.0],
        "PyTorch, 1 thread": [3.0, 5.0],
        trainer.JAX_LOOP: [2.0, 2.0],
        # The second product is the faster and counts: four times what the ensemble does.
        trainer.PRODUCTS[0]: [1 / (2 * flop)] * 2,
        trainer.PRODUCTS[1]: [1 / (4 * flop)] * 2,
    }
    quiet = {name: [0.0, 0.0] for name in times}
    lines = trainer.report(200, sizes, workers.Turns(times, quiet))
    assert "  4.00 (3.00 to 5.00) times as fast as PyTorch, 1 thread; aim 2.5" in lines
    assert "  2.00 (2.00 to 2.00) times as fast as JAX, a step at a time" in lines
    assert "  0.25 (0.25 to 0.25) of the peak; aim 0.5" in lines
    assert [line for line in lines if "NOISY" in line] == [
        "  NOISY: the slowest round took up to 1.67 times the fastest (PyTorch, 1 thread)"
    ]


def test_without_pytorch_the_trainer_is_still_compared(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    trainer.compare([], trainer.Sizes(), 1)
    assert "SKIPPED: PyTorch, which is not installed" in capsys.readouterr().out
    assert trainer.best_threads(50, trainer.Sizes()) is None


def test_on_a_gpu_the_loops_of_the_ensemble_are_compared_too():
    found = {r.name: r for r in trainer.competitors(50, trainer.Sizes(gpu=True), 1)}
    assert list(found)[:5] == [
        "igrlib ensemble",
        "igrlib ensemble, TF32",
        "igrlib ensemble, a loop of unknown length",
        "igrlib ensemble, a CUDA graph of the loop",
        "igrlib ensemble, a CUDA graph, unrolled",
    ]
    assert list(found)[5:] == [
        "PyTorch",
        "PyTorch, compiled",
        trainer.JAX_LOOP,
        trainer.PRODUCTS[1],
    ]
    precisions = [r.env.get("JAX_DEFAULT_MATMUL_PRECISION") for r in found.values()]
    assert precisions == ["highest", "default", *["highest"] * 3, None, None, *["highest"] * 2]
    compiled = [found[name].args[2] for name in ("PyTorch", "PyTorch, compiled")]
    assert compiled == [False, True]
    assert "unroll" in found["igrlib ensemble, a CUDA graph, unrolled"].env["XLA_FLAGS"]


@pytest.mark.slow
def test_the_trainer_and_the_loop_do_an_epoch_of_steps():
    sizes = trainer.Sizes(models=2, batch_size=8, num_images=20, side=3)
    jobs = [
        trainer.ensemble_on(jax.devices()[:1], 4, sizes),
        trainer.ensemble_on(jax.devices()[:1], 4, dataclasses.replace(sizes, gpu=True), 3),
        peers.jax_loop(4, sizes.batch_size, sizes.num_images, sizes.side),
    ]
    for job in jobs:
        job.work()
    # Two whole batches in 20 images, for two models and for one.
    assert [job.units for job in jobs] == [4, 4, 2]


@pytest.mark.parametrize(
    ("count", "gpu", "shared"), [(1, False, 1), (2, False, 1), (8, False, 4), (8, True, 1)]
)
def test_devices_beyond_the_cores_share_them(monkeypatch, count, gpu, shared):
    monkeypatch.setattr(devices, "cores", lambda: 2)
    assert devices.share(count, gpu) == shared


def test_as_many_devices_are_compared_as_there_are(capsys):
    gpu, cpu = trainer.Sizes(gpu=True), trainer.Sizes()
    assert [c.name for c in devices.competitors(50, cpu, 1)] == [
        "one device", "2 devices", "4 devices", "8 devices"
    ]  # fmt: skip
    assert [c.name for c in devices.competitors(50, gpu, 3)] == ["one device", "2 devices"]
    assert devices.compare(MLP, gpu, 1, available=1) == []
    assert "SKIPPED: a single device" in capsys.readouterr().out


@pytest.mark.slow
def test_each_device_takes_an_epoch_of_steps():
    sizes = trainer.Sizes(batch_size=8, num_images=20, side=3)
    job = devices.one_each(jax.devices()[:1], 4, sizes)
    job.work()
    assert job.units == 2


def test_the_report_of_devices():
    times = {"one device": [1e-3, 2e-3], "2 devices": [1.1e-3, 2e-3], "8 devices": [2e-3, 4e-3]}
    turns = workers.Turns(times, {name: [None, None] for name in times})
    lines = devices.report(MLP, turns, gpu=False)
    assert lines[1].endswith("1,500 (1,000 to 2,000) microseconds of a core for a step of a model")
    assert lines[4:6] == [
        "  1.05 (1.00 to 1.10) times that of one device: 2 devices; aim at most 1.1",
        "  2.00 (2.00 to 2.00) times that of one device: 8 devices; aim at most 1.1",
    ]


@pytest.mark.parametrize("make", [peak.numpy_product, peak.jax_product])
def test_the_products_run(make):
    job = make(8)
    job.work()
    assert job.units == peak.REPEATS * 2 * 8**3


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 10])
def test_every_way_to_the_quadratic_form_finds_the_same(outputs):
    found = {name: float(way()) for name, way in kernel.ways(6, outputs).items()}
    assert set(found) == {kernel.FORMED, kernel.FORM, kernel.REGULARIZER}
    np.testing.assert_allclose(list(found.values()), found[kernel.FORMED], rtol=1e-9)
    kernel.evaluate(6, outputs, kernel.FORM).work()


def test_a_kernel_that_does_not_fit_is_skipped(capsys):
    kernel.compare([1_000], 1, available=10**6)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[1:]] == ["SKIPPED", "SKIPPED"]


def test_the_report_of_explicit_regularization():
    torch, double = f"{regularized.TORCH}, 2 threads", f"{regularized.DOUBLE}, 2 threads"
    times = {
        regularized.PLAIN: [1.0, 1.1],
        "forward_over_reverse": [3.0, 2.2],
        "finite_difference": [2.0, 2.2],
        "reverse_over_reverse": [4.0, 4.4],
        torch: [2.0, 2.0],
        double: [8.0, 8.4],
    }
    quiet = {name: [0.0, 0.0] for name in times}
    lines = regularized.report(Problem("mlp", 200, 32, 28), workers.Turns(times, quiet))
    assert lines[0] == "MLP, width 200, batch 32, images 28×28×1"
    assert lines[7:] == [
        "  2.50 (2.00 to 3.00) times a plain step: forward_over_reverse; aim at most 3.2",
        "  2.00 (2.00 to 2.00) times a plain step: finite_difference; aim at most 2.3",
        "  4.00 (4.00 to 4.00) times a plain step: reverse_over_reverse",
        f"  4.10 (4.00 to 4.20) times PyTorch's plain step: {double}",
        "  NOISY: the slowest round took up to 1.36 times the fastest (forward_over_reverse)",
    ]


def test_the_report_of_memory():
    needed = {regularized.PLAIN: 2**20, "forward_over_reverse": 3 * 2**19}
    needed |= {"finite_difference": 2**20, "reverse_over_reverse": 2**22}
    assert memory.report(RESNET, needed) == [
        "ResNet-18, width 2, batch 4, images 8×8×3",
        "  1.00 MiB for a plain gradient",
        "  1.50 times as much: forward_over_reverse",
        "  1.00 times as much: finite_difference",
        "  4.00 times as much: reverse_over_reverse",
    ]


def test_the_report_of_the_residual_network():
    times = {residual.IGRLIB: [1.0, 1.0], "PyTorch, 1 thread": [1.0, 1.2]}
    turns = workers.Turns(times, {name: [None, None] for name in times})
    lines = residual.report(RESNET, turns)
    assert lines[-1] == "  1.10 (1.00 to 1.20) times as fast as PyTorch, 1 thread"


@pytest.mark.parametrize(
    ("gpu", "torch", "why"),
    [
        (False, False, "not installed"),
        (True, False, "not installed"),
        (True, True, "sees no GPU"),
    ],
)
def test_without_pytorch_igrlib_runs_alone(monkeypatch, gpu, torch, why):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if torch else None)
    monkeypatch.setattr(pytorch, "_sees_gpu", lambda: False)
    assert why in pytorch.missing(gpu)
    ways = [racer.name for racer in regularized.competitors(MLP, gpu)]
    assert ways == [regularized.PLAIN, *regularized.METHODS]
    assert [racer.name for racer in residual.competitors(RESNET, gpu)] == [residual.IGRLIB]


@pytest.mark.slow
@pytest.mark.parametrize("way", regularized.METHODS)
def test_every_method_is_of_the_regularized_loss(way):
    model = problems.model_of(MLP)
    variables, batch = model.start(jax.random.key(0)), problems.images_of(MLP, MLP.batch_size)
    found = [
        jax.jit(regularized.value_and_grad(model, each))(*variables, *batch)
        for each in (regularized.PLAIN, way)
    ]
    ((plain, _), gradient), ((value, _), _) = found
    square = sum(float(np.sum(np.asarray(leaf) ** 2)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(value - plain, regularized.MU * square, rtol=1e-3)


@pytest.mark.slow
def test_steps_are_taken_one_at_a_time(monkeypatch):
    monkeypatch.setattr(regularized, "TURN", 1e-9)
    for way in (regularized.PLAIN, "forward_over_reverse"):
        job = regularized.step(MLP, way)
        job.work()
        assert job.units == 1


def test_the_report_of_the_corrections_of_optimizers():
    times = {
        "gradient": [1.0, 1.0],
        "Adam": [4.0, 5.0],
        "AdamW": [4.5, 4.5],
        "heavy ball": [3.0] * 2,
    }
    held = {"gradient": 2.04, "Adam": 9.8}
    turns = workers.Turns(times, {name: [None, None] for name in times})
    lines = corrections.report(Problem("mlp", 410, 512, 28), turns, held)
    assert lines[0] == "MLP, width 410, batch 512, images 28×28×1, 1,000,000 parameters"
    assert lines[5:] == [
        "  4.50 (4.00 to 5.00) gradients: Adam; aim at most 12",
        "  4.50 (4.50 to 4.50) gradients: AdamW",
        "  3.00 (3.00 to 3.00) gradients: heavy ball",
        "  2.0 copies of the parameters: gradient",
        "  9.8 copies of the parameters: Adam; aim at most 12",
    ]


@pytest.mark.slow
def test_corrections_are_computed_and_their_memory_is_counted(monkeypatch):
    monkeypatch.setattr(corrections, "TURN", 1e-9)
    # The program of Adam is timed and then weighed: compiled once is enough.
    monkeypatch.setattr(corrections, "compiled", functools.cache(corrections.compiled))
    job = corrections.evaluate(MLP, "Adam")
    job.work()
    assert job.units == 1
    plain, adam = (corrections.copies(MLP, way) for way in (corrections.GRADIENT, "Adam"))
    assert 1 < plain < adam
    # A network with many parameters for its batch, whose layers need little beside them.
    assert corrections.copies(Problem("mlp", 100, 1, 28), "Adam") < corrections.AIM


def test_the_report_of_the_flows_at_the_edge():
    times = {"gradient": [1.0, 1.0], "principal field": [40.0] * 2, "rod flow": [8.0, 10.0]}
    turns = workers.Turns(times, {name: [None, None] for name in times})
    lines = edge.report(Problem("mlp", 50, 1000, 28), turns)
    assert lines[4:] == [
        "  40.0 (40.0 to 40.0) gradients for one value: principal field",
        "  9.00 (8.00 to 10.0) gradients for a time h: rod flow",
    ]


@pytest.mark.slow
def test_a_flow_at_the_edge_is_run_for_its_span(monkeypatch):
    monkeypatch.setattr(edge, "TURN", 1e-9)
    monkeypatch.setattr(edge, "SPAN", 2)
    job = edge.evaluate(MLP, "rod flow at the edge")
    job.work()
    assert job.units == 2


def test_the_report_of_layouts():
    times = {"together": [4e-3, 4e-3], "one by one": [2e-3, 1e-3]}
    turns = workers.Turns(times, {name: [None, None] for name in times})
    lines = laid.report(RESNET, turns)
    assert lines[1].startswith("  one by one")
    assert lines[1].endswith("1.50 (1.00 to 2.00) milliseconds for a step of a model")
    assert lines[3] == "  3.00 (2.00 to 4.00) times as long as that: together"


@pytest.mark.slow
def test_all_models_of_a_layout_take_their_steps(monkeypatch):
    monkeypatch.setattr(laid, "TURN", 1e-9)
    assert [(c.args, c.make.args[1:]) for c in laid.competitors(RESNET)] == [
        ((), (group, loop)) for group in (1, 4) for loop in (True, False)
    ]
    job = laid.way(RESNET, 1, loop=False)
    job.work()
    assert job.units == laid.MODELS


def against_schema(held):
    jsonschema.validate(held, json.loads(SCHEMA.read_text(encoding="utf-8")))


TURNS = workers.Turns({"one": [1.5, 2.0], "two": [4, 5]}, {"one": [0.25, None], "two": [0.0, 0.0]})


@pytest.mark.slow
def test_the_command_writes_what_it_found_and_where(tmp_path, monkeypatch, capsys):
    racers = [
        Competitor("one", sleeper, (0.01, 1)),
        Competitor(residual.IGRLIB, sleeper, (0.01, 1)),
    ]
    monkeypatch.setattr(residual, "competitors", lambda problem, gpu: racers)
    file = tmp_path / "here.json"
    main(["--only", "resnet", "--resnet", "2", "4", "8", "--rounds", "2", "--json", str(file)])
    written = json.loads(file.read_text(encoding="utf-8"))
    against_schema(written)
    where = written["environment"]
    assert where["versions"]["jax"] == jax.__version__
    assert where["device"]["kind"] == jax.devices()[0].device_kind
    (comparison,) = written["comparisons"]
    assert (comparison["comparison"], comparison["problem"]) == ("resnet", str(RESNET))
    one, other = comparison["series"]
    assert (one["name"], other["name"]) == ("one", residual.IGRLIB)
    assert len(one["values"]) == len(one["others"]) == 2
    assert min(one["values"]) >= 0.01
    assert "milliseconds a step" in capsys.readouterr().out


def test_a_file_in_no_folder_is_refused_before_the_work(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--json", str(tmp_path / "nowhere" / "here.json")])
    assert "--json must lie in a folder that is there" in capsys.readouterr().err


def test_what_took_turns_is_told_in_its_units():
    told = of_turns("made up", RESNET, TURNS, "seconds", {"two": "hours"})
    assert [series.unit for series in told.series] == ["seconds", "hours"]
    (written,) = json.loads(as_json({}, [told]))["comparisons"]
    assert written["series"][0] == {
        "name": "one", "unit": "seconds", "values": [1.5, 2.0], "others": [0.25, None]
    }  # fmt: skip
    # NaN is not JSON.
    with pytest.raises(ValueError, match="Out of range float"):
        as_json({"nan": float("nan")}, [])


COMMITTED = sorted((SCHEMA.parent / "results").glob("*.json"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_of_the_schema(path):
    held = json.loads(path.read_text(encoding="utf-8"))
    against_schema(held)
    for change in (
        {"environment": None},
        {"comparisons": [{**held["comparisons"][0], "series": []}]},
        {"steps": []},
        {"environment": {**held["environment"], "commit": "main"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            against_schema(held | change)


@pytest.mark.slow
def test_the_sweep_takes_an_epoch_of_steps_of_the_residual_network():
    job = residual.sweep(RESNET, 10)
    job.work()
    assert job.units == 2


def test_the_compiler_counts_the_memory_of_a_gradient():
    plain, forward = (memory.temporary_bytes(MLP, way) for way in ("plain", "forward_over_reverse"))
    assert 0 < plain < forward


@with_torch
@pytest.mark.parametrize("width", [1, 6])
def test_the_residual_network_of_pytorch_has_as_many_parameters(width):
    net = pytorch.resnet18(width, 3)
    assert sum(p.numel() for p in net.parameters()) == num_params(ResNet18(), width, "cifar10")


# The sides that are halved are odd, 33, 17, 9, 5 and 3, so that both pad alike.
ODD = Problem("resnet18", 2, 4, 33)


def name_of(path):
    """What PyTorch calls a parameter of ours."""
    *module, name = (key.key for key in path)
    return ".".join([*module, "bias" if name == "bias" else "weight"])


def shared_with(net, params):
    """Random parameters in the place of `params`, which PyTorch's network is given too."""
    import torch

    rng = np.random.default_rng(0)

    def shared(path, leaf):
        value = rng.uniform(-0.5, 1.0, leaf.shape).astype(np.float32)
        theirs = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        net.get_parameter(name_of(path)).data = torch.from_numpy(theirs.copy())
        return value

    return jax.tree.map_with_path(shared, params)


@with_torch
def test_the_residual_network_of_pytorch_is_that_of_igrlib():
    net, data, _ = pytorch.start(ODD, ODD.batch_size, 1)
    model, (images, _) = problems.model_of(ODD), problems.images_of(ODD, 4)
    start = model.start(jax.random.key(0))
    logits, _ = jax.jit(model.training)(shared_with(net, start.params), start.stats, images)
    np.testing.assert_allclose(net(data).detach().numpy(), logits, rtol=1e-4, atol=1e-4)


@with_torch
@pytest.mark.parametrize("mu", [0.0, 0.1])
def test_a_step_of_pytorch_is_that_of_igrlib(mu):
    import torch

    net, data, wanted = pytorch.start(ODD, ODD.batch_size, 1)
    model, (images, labels) = problems.model_of(ODD), map(jnp.asarray, problems.images_of(ODD, 4))
    start = model.start(jax.random.key(0))
    before = shared_with(net, start.params)

    def loss(params):
        logits, _ = model.training(params, start.stats, images)
        return mean_cross_entropy(logits, labels)

    way = gradient_regularized_value_and_grad(loss, mu, method="reverse_over_reverse")
    _, gradient = jax.jit(way)(before)
    pytorch.descend(net, data, wanted, mu, torch.optim.SGD(net.parameters(), lr=1.0))
    for (path, g), p in zip(
        jax.tree_util.tree_leaves_with_path(gradient), jax.tree.leaves(before), strict=True
    ):
        after = net.get_parameter(name_of(path)).detach().numpy()
        moved = p - (after.transpose(2, 3, 1, 0) if after.ndim == 4 else after.T)
        assert np.linalg.norm(moved - g) < 1e-3 * (1e-3 + np.linalg.norm(g))


def test_what_the_paper_costs_is_reckoned_from_the_measured_steps():
    measured = json.loads((SCHEMA.parent / "results" / "h100.json").read_text())["comparisons"]
    ours = {c["problem"]: c["series"][0]["values"][0] for c in measured}
    least = 1e-6 * ours["MLP, width 50, batch 32, MNIST, 8 models, chunk 32"]
    wide = 1e-6 * ours["MLP, width 400, batch 32, MNIST, 8 models, chunk 32"]
    speed = 8 * peak.flop(400, 32, 28) / wide
    of_a_model = {
        "resnet-sweep": 1e-3 * ours["resnet-sweep:gpu, 5 models"],
        "egr-sweep": 1e-3 * ours["egr-sweep:gpu, 8 models"],
    }

    def seconds(experiment, unit):
        if experiment in of_a_model:
            return unit.model_steps * of_a_model[experiment]
        # All models of a unit go on together until the last of them is done.
        steps = max(unit.config()["steps"].values())
        flop = unit.models * peak.flop(unit.width, unit.batch_size, 28)
        return (
            steps
            * max(least, flop / speed)
            * (penalty if max(unit.arm.mus) > 0 or unit.arm.ladder else 1)
        )

    penalty = of_a_model["egr-sweep"] / of_a_model["resnet-sweep"]
    page = (SCHEMA.parent.parent / "book" / "reproduce.md").read_text()
    rows = re.findall(r"^\| `(\w+-sweep)` \| ([\d.]+) \| ([\d.]+) \|$", page, re.M)
    assert [name for name, *_ in rows] == [
        name for name, profiles in EXPERIMENTS.items() if "paper" in profiles
    ]
    assert f"takes the factor of ResNet-18, {penalty:.1f}" in page
    for name, all_of_them, first in rows:
        every = units(EXPERIMENTS[name]["paper"])
        swept = [unit for unit in every if isinstance(unit.arm, Arm)]
        if swept != every:
            assert f"The {len(every) - len(swept)} single runs with their flows are not in" in page
        took = {u: seconds(name, u) for u in swept}
        one = sum(time for unit, time in took.items() if unit.seeds[0] == 0)
        assert f"{sum(took.values()) / 3600:.1f}" == all_of_them
        assert f"{one / 3600:.1f}" == first


RECIPES = SCHEMA.parent.parent / "book" / "recipes.ipynb"


def blocks_for_pytorch():
    cells = nbformat.read(RECIPES, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    plain, loop, scaled, with_batch_norm = re.findall(r"^```python\n(.*?)^```", prose, re.M | re.S)
    optimizer = loop[: loop.index("for x, y")]
    with_batch_norm = plain[: plain.index("def loss")] + with_batch_norm
    return plain, (plain + loop, plain + optimizer + scaled), with_batch_norm


def compared(names, loss):
    """Compare the gradient that a block of the book left in `names` with that of igrlib."""
    start = names["start"]
    _, expected = gradient_regularized_value_and_grad(loss, names["mu"])(start)
    assert set(names["gradient"]) == set(expected)
    for name, gradient in names["gradient"].items():
        np.testing.assert_allclose(gradient.numpy(), expected[name], rtol=1e-9, atol=1e-12)


def run_block(block, *layers):
    """Run a block on a net of these layers, 5 inputs and 3 outputs."""
    import torch

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.integers(3, size=8)
    net = torch.nn.Sequential(*layers).double()
    names = {"net": net, "mu": 0.3, "x": torch.from_numpy(x), "y": torch.from_numpy(y), "h": 0.1}
    names["loader"] = 3 * [(names["x"], names["y"])]
    names["start"] = {
        name: jnp.asarray(p.detach().numpy().copy()) for name, p in net.named_parameters()
    }
    exec(compile(block, "recipes.ipynb", "exec"), names)
    return names, x, jnp.asarray(y)


@with_torch
def test_the_block_of_the_book_for_pytorch_finds_the_gradient_of_igrlib():
    from torch import nn

    block, loops, _ = blocks_for_pytorch()
    layers = nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
    names, x, y = run_block(block, *layers)

    def loss(p):
        hidden = jnp.tanh(x @ p["0.weight"].T + p["0.bias"][None])
        return mean_cross_entropy(hidden @ p["2.weight"].T + p["2.bias"][None], y)

    compared(names, loss)
    assert float(names["value"]) == pytest.approx(float(loss(names["start"])), rel=1e-9)
    for text in loops:
        names, x, y = run_block(text, *[copy.deepcopy(layer) for layer in layers])
        params, mu = names["start"], names["mu"]
        value_and_grad = gradient_regularized_value_and_grad(loss, mu)
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(names["h"], momentum=0.9))
        state = optimizer.init(params)
        for _ in names["loader"]:
            value, (_, gradient) = loss(params), value_and_grad(params)
            updates, state = optimizer.update(gradient, state)
            params = optax.apply_updates(params, updates)
        assert float(names["value"]) == pytest.approx(float(value), rel=1e-5)
        for name, moved in names["net"].named_parameters():
            assert np.abs(moved.detach().numpy() - names["start"][name]).max() > 0.01
            np.testing.assert_allclose(moved.detach().numpy(), params[name], rtol=1e-5)


@with_torch
def test_the_block_for_batch_norm_moves_the_running_statistics_once():
    import torch
    from torch import nn

    plain, _, block = blocks_for_pytorch()
    layers = nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3)
    with pytest.raises(RuntimeError, match="mutate a captured Tensor"):
        run_block(plain, *layers)
    names, x, y = run_block(block, *layers)

    def loss(p):
        z = x @ p["0.weight"].T
        z = (z - z.mean(0)[None]) / jnp.sqrt(z.var(0)[None] + 1e-5)
        hidden = jnp.tanh(z * p["1.weight"][None] + p["1.bias"][None])
        return mean_cross_entropy(hidden @ p["3.weight"].T + p["3.bias"][None], y)

    compared(names, loss)
    norm, z = names["net"][1], x @ np.asarray(names["start"]["0.weight"]).T
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * z.mean(0), rtol=1e-9)
    moved = 0.9 + 0.1 * z.var(0, ddof=1)
    np.testing.assert_allclose(norm.running_var.numpy(), moved, rtol=1e-9)
    assert norm.num_batches_tracked == 1
    names["net"](names["x"])  # a further pass, as the text says
    assert norm.num_batches_tracked == 2
    assert not torch.allclose(norm.running_var, torch.from_numpy(moved))


@with_torch
def test_pytorch_takes_the_same_steps(monkeypatch):
    monkeypatch.setattr(pytorch, "TURN", 1e-9)
    for problem in (MLP, RESNET):
        jobs = [
            pytorch.loop(problem, 20, False, 1),
            *(pytorch.step(problem, mu, 1) for mu in (0.0, 0.1)),
        ]
        for job in jobs:
            job.work()
        assert [job.units for job in jobs] == [20 // problem.batch_size, 1, 1]
