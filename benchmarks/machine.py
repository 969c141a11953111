"""Where the comparisons run."""

import os
import platform
from typing import Any


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine() -> dict[str, Any]:
    """What a record says of its origin; the processor, the load of the machine, free bytes."""
    import jax

    from igrlib.experiments.layouts import free_bytes
    from igrlib.experiments.records import provenance

    return {
        **provenance(),
        "processor": _processor(),
        "load_averages": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "bytes_free": free_bytes(jax.devices()[0]),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.machine()
