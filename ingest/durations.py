"""A histogram whose samples are gathered in plain numbers, and handed to prometheus-client in lots.

Its own `observe` takes two locks, and asks the kernel for the process's number twice: more than parsing a form costs.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Histogram

#: For so long an exposition of another worker may miss a sample, and a crash may take it along.
_GATHERED_S = 0.25


class Durations(Histogram):
    """How long something took, in seconds. Used on one event loop; `flush` before it ends or is looked at."""

    def __init__(self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._gathered = [0] * (len(buckets) + 1)
        self._gathered_s = 0.0
        self._due: asyncio.TimerHandle | None = None
        super().__init__(name, documentation, buckets=buckets, registry=registry)

    def took(self, seconds: float) -> None:
        """Count one that took so long."""
        self._gathered[bisect_left(self._upper_bounds, seconds)] += 1
        self._gathered_s += seconds
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHERED_S, self.flush)

    def flush(self) -> None:
        """Hand over what was gathered. Idempotent."""
        if self._due is None:
            return
        self._due.cancel()
        self._due = None
        self._sum.inc(self._gathered_s)
        for bucket, samples in zip(self._buckets, self._gathered, strict=True):
            if samples:
                bucket.inc(samples)
        self._gathered, self._gathered_s = [0] * len(self._buckets), 0.0
