"""Print how fast igrlib is beside its rivals: ratios from interleaved rounds, and no pass mark."""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from . import kernel, trainer
from .machine import this_machine


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", choices=("trainer", "kernel"), help="one comparison instead of both")
    add("--rounds", type=int, default=5)
    add("--widths", type=int, nargs="+", default=[50, 100, 200, 400])
    add("--models", type=int, help="models in the ensemble (8 on a CPU, 40 on a GPU)")
    add("--images", type=int, default=55_000)
    add("--examples", type=int, nargs="+", default=[100, 300, 1_000, 3_000])
    args = parser.parse_args()
    # This process leaves JAX alone, so that the processes that race can choose how it starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        machine = pool.submit(this_machine).result()
    for what, found in machine.items():
        print(f"{what}: {found}")
    gpu = machine["platform"] == "gpu"
    if args.only != "kernel":
        models = args.models or (40 if gpu else 8)
        sizes = trainer.Sizes(models=models, num_images=args.images, gpu=gpu)
        trainer.compare(args.widths, sizes, args.rounds)
    if args.only != "trainer":
        kernel.compare(args.examples, args.rounds, machine["bytes free"])


if __name__ == "__main__":
    main()
