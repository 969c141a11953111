"""How much memory an ensemble needs on a device, and whether it is there.

Everything is known from shapes before a byte is allocated. The parts that one line can name are
exact; the workspace of a step or measurement is an estimate that errs upwards.

Source: Section 6; chapter 7, *MNIST*.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from igrlib._typing import PyTree
from igrlib.experiments.networks.model import Model, NormalizedClassifier, Variables
from igrlib.measures import BLOCK

__all__ = ["available_bytes", "check_fits", "device_bytes"]


def device_bytes(
    classifier: Model,
    image: Any,
    *,
    num_models: int,
    group: int,
    batch_size: int,
    num_matvecs: int,
    regularized: bool,
    data: int,
) -> dict[str, int]:
    """Bytes that one device needs, by what they are for.

    `image` is one image of the split (its shape and dtype count), `num_models` how many models the
    device holds, `group` how many of them it works on at once, `num_matvecs` the vectors that
    λ_max keeps, `data` the bytes of the splits; `regularized` says whether any μ is above 0.
    Parameters, with the statistics of batch norm, are there three times: as trained, and as chosen
    by validation and test accuracy.

    Source: Appendix A.5; chapter 7.
    """
    variables = jax.eval_shape(classifier.start, jax.eval_shape(lambda: jax.random.key(0)))
    model = _nbytes(variables)

    def kept(num_examples: int) -> int:
        """What reverse mode keeps of a pass through the model, its parameters left out."""
        images = jax.ShapeDtypeStruct((num_examples, *image.shape), image.dtype)

        def back(v: Variables, x: Array) -> Any:
            return jax.vjp(lambda p: jnp.sum(classifier.train(p, v.stats, x)[0]), v.params)[1]

        return max(_nbytes(jax.eval_shape(back, variables, images)) - model, 0)

    # The gradient of ‖∇E‖² goes backwards through a gradient.
    step = (3 if regularized else 1) * kept(batch_size)
    # λ_max differentiates a gradient; beside the vectors of Lanczos' method there are the one it
    # started from, a direction, its product, sums over blocks, and their copies.
    block = batch_size if isinstance(classifier, NormalizedClassifier) else BLOCK
    curvature = 2 * kept(block) + (num_matvecs + 6) * model
    return {
        "data": data,
        "parameters": num_models * model,
        "two chosen copies": 2 * num_models * model,
        # Going from group to group, the compiler writes the new models beside the old ones.
        "new parameters": (num_models + group if num_models > group else 0) * model,
        "gradients": 2 * group * model,
        "activations": group * max(step, curvature),
    }


def available_bytes(device: Any, root: Path = Path("/")) -> int | None:
    """Bytes that are free on a JAX device, None where nothing tells.

    For the CPU the memory of the system, or what is left of the limit of a control group (a
    container or a batch job) where that is less. `root` is where `/proc` and `/sys` lie.
    """
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else limit - stats.get("bytes_in_use", 0)
    found = [b for b in (_system_bytes(root), *_group_bytes(root)) if b is not None]
    return min(found, default=None)


def check_fits(what: str, terms: Mapping[str, int], available: int | None) -> None:
    """Raise `MemoryError` with the sum, term by term in MiB, where `terms` exceed `available`."""
    total = sum(terms.values())
    if available is None or total <= available:
        return
    parts = " + ".join(f"{name} {_mib(size)}" for name, size in terms.items())
    raise MemoryError(
        f"{what} needs {parts} = {_mib(total)} MiB, and {_mib(available)} MiB are free: train "
        f"fewer seeds or learning rates together, or a smaller width or batch"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"


def _nbytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _system_bytes(root: Path) -> int | None:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group_bytes(root: Path) -> list[int]:
    """What is left below the limit of each control group that this process is in, v2 and v1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left: list[int] = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            base, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            base = root / "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        here = base / path.lstrip("/")
        for folder in (here, *here.parents):
            if folder == base.parent:
                break
            try:
                cap, taken = int((folder / limit).read_text()), int((folder / used).read_text())
            except (OSError, ValueError):  # No limit reads "max", the root of all has no file.
                continue
            left.append(max(cap - taken + _cached(folder), 0))
    return left


def _cached(folder: Path) -> int:
    """Memory that counts as used but is given back when asked for."""
    try:
        lines = dict(s.split() for s in (folder / "memory.stat").read_text().splitlines())
        return int(lines.get("total_inactive_file", lines.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0
