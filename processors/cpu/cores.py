"""How many processes have something to run on."""

import os


def cores() -> int:
    """The cores that this process may use; a container's share of them is not asked for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
