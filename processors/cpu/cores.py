"""How many processes have something to run on."""

import os
import sys


def cores() -> int:
    """The cores that this process may use; a container's share of them is not asked for."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
