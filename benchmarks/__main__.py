"""Print how fast igrlib is beside its rivals: ratios from interleaved rounds, and no pass mark."""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from . import (
    corrections,
    devices,
    edge,
    kernel,
    laid,
    memory,
    pages,
    regularized,
    residual,
    trainer,
)
from .found import Comparison, as_json
from .machine import this_machine
from .problems import Problem

COMPARISONS = (
    "trainer",
    "devices",
    "kernel",
    "egr",
    "memory",
    "corrections",
    "edge",
    "resnet",
    "layouts",
    "pages",
)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", choices=COMPARISONS, help="one comparison instead of all")
    add("--json", type=Path, metavar="FILE", help="write what was found and where to FILE")
    add("--rounds", type=int, default=5)
    add("--widths", type=int, nargs="+", default=[50, 100, 200, 400])
    add("--models", type=int, help="models in the ensemble (8 on a CPU, 24 on a GPU)")
    add("--images", type=int, default=55_000)
    add("--examples", type=int, nargs="+", default=[100, 300, 1_000, 3_000])
    add("--mlp", type=int, nargs=2, metavar=("WIDTH", "BATCH"), default=[200, 32])
    add("--million", type=int, nargs=2, metavar=("WIDTH", "BATCH"), default=[410, 512])
    add("--full", type=int, nargs=2, metavar=("WIDTH", "BATCH"), default=[50, 1_000])
    add(
        "--resnet",
        type=int,
        nargs=3,
        metavar=("WIDTH", "BATCH", "SIDE"),
        help="of ResNet-18 (16 128 32 on a CPU, 64 128 32 on a GPU)",
    )
    args = parser.parse_args(argv)
    if args.json and not args.json.parent.is_dir():
        parser.error(f"--json must lie in a folder that is there, got {args.json}; make it first")
    # This process leaves JAX alone, so that the processes that race can choose how it starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        machine = pool.submit(this_machine).result()
    for what, found in machine.items():
        print(f"{what}: {found}")
    gpu = machine["device"]["platform"] == "gpu"
    mlp = Problem("mlp", *args.mlp, 28)
    resnet18 = Problem("resnet18", *(args.resnet or (64 if gpu else 16, 128, 32)))
    models = args.models or (24 if gpu else 8)
    sizes = trainer.Sizes(models=models, num_images=args.images, gpu=gpu)

    def compare(name: str) -> list[Comparison]:
        match name:
            case "trainer":
                return trainer.compare(args.widths, sizes, args.rounds)
            case "devices":
                of_mlp = replace(sizes, batch_size=mlp.batch_size)
                return devices.compare(mlp, of_mlp, args.rounds, machine["device"]["count"])
            case "kernel":
                return kernel.compare(args.examples, args.rounds, machine["bytes_free"])
            case "egr":
                return regularized.compare([mlp, resnet18], args.rounds, gpu)
            case "memory":
                return memory.compare([mlp, resnet18])
            case "corrections":
                return corrections.compare(Problem("mlp", *args.million, 28), args.rounds)
            case "edge":
                return edge.compare(Problem("mlp", *args.full, 28), args.rounds)
            case "resnet":
                return residual.compare(resnet18, args.rounds, gpu)
            case "layouts":
                return laid.compare(resnet18, args.rounds)
            case _:
                return pages.compare(args.rounds)

    comparisons: list[Comparison] = []
    for name in (args.only,) if args.only else COMPARISONS:
        comparisons += compare(name)
        if args.json:  # After each, for those that are stopped.
            args.json.write_text(as_json(machine, comparisons), encoding="utf-8")


if __name__ == "__main__":
    main()
