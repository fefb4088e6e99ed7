"""Workers that stand still, as one whose handler holds up the event loop: they say nothing of themselves any more."""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from forebay.schemas.names import METRICS_PREFIX

from .shared_folder import STALE_S, TELL_EVERY_S, silence_s

_POLL_AGE = f"{METRICS_PREFIX}_poll_age_seconds"


class Pulse:
    """When this process's event loop turned last. Any thread may ask."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock, self._at = clock, clock()

    async def beat(self) -> None:
        """Beat for as long as the loop turns."""
        while True:
            self._at = self._clock()
            await asyncio.sleep(TELL_EVERY_S)

    @property
    def silence_s(self) -> float:
        """For how long the loop stands still; 0 while it doesn't."""
        silent_s = self._clock() - self._at
        return silent_s if silent_s > STALE_S else 0.0


def exposition_of(folder: str) -> bytes:
    """The metrics of a supervisor's children, workers that stand still among them, in Prometheus' text format."""
    from forebay.ingest import metric_files

    silent_s = silence_s(folder)
    return metric_files.exposition_of(folder, lambda metrics: Aged(metrics, silent_s))


class Aged(Collector):
    """Metrics of workers. One that stands still brings no age up to date, and has asked the queue for nothing since."""

    def __init__(self, metrics: Collector, silence_s: float) -> None:
        self._metrics, self._silence_s = metrics, silence_s

    def collect(self) -> Iterable[Metric]:
        """As in prometheus-client."""
        return map(self._aged, self._metrics.collect())

    def _aged(self, metric: Metric) -> Metric:
        if metric.name == _POLL_AGE:
            metric.samples = [one._replace(value=max(one.value, self._silence_s)) for one in metric.samples]
        return metric
