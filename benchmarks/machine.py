"""Where the comparisons run."""

import os
import platform
from typing import Any


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine() -> dict[str, Any]:
    """Where all this runs."""
    import jax
    import jaxlib

    from igrlib.training.memory import available_bytes

    devices = jax.devices()
    load = ", ".join(f"{x:.2f}" for x in os.getloadavg()) if hasattr(os, "getloadavg") else "?"
    return {
        "processor": _processor(),
        "cores": cores(),
        "platform": devices[0].platform,
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "load averages": load,
        "python": platform.python_version(),
        "jax, jaxlib": f"{jax.__version__}, {jaxlib.__version__}",
        "bytes free": available_bytes(devices[0]),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.machine()
