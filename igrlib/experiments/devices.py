"""Whether the devices work, and what an error of JAX says of them.

Source: not in the paper; the appendix *How to reproduce*.
"""

import re

import jax
import numpy as np
from jax.errors import JaxRuntimeError

__all__ = ["is_fault", "is_lost", "is_out_of_memory", "touch"]

# After these no program runs on the device any more, whatever the process does.
_LOST = re.compile(
    r"^(UNAVAILABLE|ABORTED|DATA_LOSS)\b|device lost|CUDA_ERROR_(ECC_UNCORRECTABLE|LAUNCH_FAILED"
    r"|LAUNCH_TIMEOUT|ILLEGAL|MISALIGNED|HARDWARE|NVLINK|DEVICE_UNAVAILABLE|UNKNOWN)"
)


def touch() -> None:
    """Copy a number to each device and back; raises what JAX does where that fails."""
    for device in jax.devices():
        np.asarray(jax.device_put(np.zeros(1, np.float32), device))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host or a device ran out of memory."""
    text = str(error)
    of_device = "RESOURCE_EXHAUSTED" in text or "CUDA_ERROR_OUT_OF_MEMORY" in text
    return isinstance(error, MemoryError) or (isinstance(error, JaxRuntimeError) and of_device)


def is_lost(error: BaseException) -> bool:
    """Whether an error of JAX comes from a device that this process cannot use any more.

    Its text says so, or the devices do not answer: a program may fail on a device that works.
    """
    if not isinstance(error, JaxRuntimeError):
        return False
    if _LOST.search(str(error)):
        return True
    try:
        touch()
    except RuntimeError as answer:
        return not is_out_of_memory(answer)
    return False


def is_fault(error: BaseException) -> bool:
    """Whether an error is one of the device or of memory, and so tells nothing of what was run."""
    return is_out_of_memory(error) or is_lost(error)
