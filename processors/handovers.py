"""Tells an operator which partitions came and went, and how far each was: all of a turn of the loop at once."""

import asyncio

from forebay.schemas.logger import get_logger

from .metrics import WorkerMetrics

_log = get_logger(__name__)


class Handovers:
    """Counts them, and writes a line for what a queue tells of one partition after the other."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        #: What happened → partition → offset behind what is finished.
        self._untold: dict[str, dict[int, int]] = {}
        self._is_leaving = False

    def note(self, what: str, partition: int, position: int) -> None:
        """It was `assigned`, `revoked` or `lost`; all before the position was finished."""
        self._metrics.rebalances.labels(what).inc()
        if any(partition in positions for positions in self._untold.values()):
            self.tell()
        is_first = not self._untold
        self._untold.setdefault(what, {})[partition] = position
        if is_first and not self._is_leaving:
            try:
                asyncio.get_running_loop().call_soon(self.tell)
            except RuntimeError:
                # In a rehearsal a worker dies between two runs of its loop.
                self.tell()

    def leave(self) -> None:
        """All will go now, each as its last commit is done: that is told together, by `tell` in the end."""
        self._is_leaving = True

    def tell(self) -> None:
        """Write down what was noted."""
        untold, self._untold = self._untold, {}
        for what, positions in untold.items():
            say = _log.warning if what == "lost" else _log.info
            say(f"partitions {what}", positions=dict(sorted(positions.items())))
