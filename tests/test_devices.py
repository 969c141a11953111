"""igrlib.experiments.devices: which errors of JAX are those of a device, by their texts."""

import jax
import jax.numpy as jnp
import pytest
from jax.errors import JaxRuntimeError

from igrlib.experiments import devices

MEMORY = (
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
    "INTERNAL: Failed to allocate 12 bytes: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
)
LOST = (
    "INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered",
    "UNKNOWN: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
    "INTERNAL: Failed to execute XLA Runtime executable: CUDA_ERROR_ILLEGAL_ADDRESS",
    "INTERNAL: CUDA error: device lost",
    "UNAVAILABLE: the device was reset",
    "ABORTED: the stream is in an error state",
)
OF_A_PROGRAM = (
    "INTERNAL: Failed to execute XLA Runtime executable: no such luck",
    "INVALID_ARGUMENT: Executable expected parameter 0 of size 4 but got 8",
    "INTERNAL: CpuCallback error: it left the finite numbers; UNAVAILABLE is a word",
)


@pytest.mark.parametrize("text", [*MEMORY, *LOST, *OF_A_PROGRAM])
def test_an_error_is_what_its_text_says(text):
    error = JaxRuntimeError(text)
    assert devices.is_out_of_memory(error) == (text in MEMORY)
    assert devices.is_lost(error) == (text in LOST)
    assert devices.is_fault(error) == (text not in OF_A_PROGRAM)
    assert not devices.is_fault(RuntimeError(text))


def test_memory_of_the_host_and_what_jax_says_itself():
    assert devices.is_out_of_memory(MemoryError())
    with pytest.raises(JaxRuntimeError) as caught:
        jnp.zeros((2**24, 2**24))
    assert devices.is_out_of_memory(caught.value)


@pytest.mark.parametrize("text", OF_A_PROGRAM)
def test_a_device_that_does_not_answer_is_lost_whatever_was_said(monkeypatch, text):
    def broken(*_):
        raise JaxRuntimeError(answer)

    monkeypatch.setattr(jax, "device_put", broken)
    answer = "INTERNAL: stream is in an error state"
    assert devices.is_lost(JaxRuntimeError(text))
    answer = MEMORY[0]  # It is full, and works.
    assert not devices.is_lost(JaxRuntimeError(text))
