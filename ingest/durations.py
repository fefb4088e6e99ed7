"""A histogram whose samples are gathered in a list, and handed to prometheus-client in lots.

Its own `observe` takes two locks, and asks the kernel for the process's number twice: more than parsing a form costs.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Histogram

#: For so long an exposition of another worker may miss a sample, and a crash may take it along.
_GATHERED_S = 0.25


class Durations(Histogram):
    """How long something took, in seconds. Used on one event loop; `flush` before it ends or is looked at."""

    def __init__(self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._gathered: list[float] = []
        self._due: asyncio.TimerHandle | None = None
        super().__init__(name, documentation, buckets=buckets, registry=registry)

    def took(self, seconds: float) -> None:
        """Count one that took so long."""
        self._gathered.append(seconds)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHERED_S, self.flush)

    def flush(self) -> None:
        """Hand over what was gathered. Idempotent."""
        if self._due is None:
            return
        self._due.cancel()
        gathered, self._gathered, self._due = self._gathered, [], None
        self._sum.inc(sum(gathered))
        samples_of = Counter(bisect_left(self._upper_bounds, seconds) for seconds in gathered)
        for number, samples in samples_of.items():
            self._buckets[number].inc(samples)
