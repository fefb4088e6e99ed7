"""The processors' metrics. No label names a portal: there may be a hundred thousand of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from forebay.schemas.names import METRICS_PREFIX

_CALL_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Events may wait long, and how long is what people want to know.
_AGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMetrics:
    """What a worker counts."""

    events_handled: Counter
    handler_seconds: Histogram
    event_age: Histogram
    dead: Counter
    rebalances: Counter
    lag_records: Gauge
    lag_seconds: Gauge
    held_records: Gauge
    poll_age: Gauge


def build_metrics(registry: CollectorRegistry = REGISTRY) -> WorkerMetrics:
    """The metrics, registered. Call it once for each registry."""

    def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, namespace=METRICS_PREFIX, registry=registry)

    def histogram(name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, namespace=METRICS_PREFIX, registry=registry)

    def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        # Of several processes the one that is worst off counts; one that ended counts no more.
        return Gauge(name, text, labels, namespace=METRICS_PREFIX, registry=registry, multiprocess_mode="livemax")

    return WorkerMetrics(
        events_handled=counter("events_handled_total", "Tries, by how they ended", ("handler", "outcome")),
        handler_seconds=histogram("handler_seconds", "How long a handler took", _CALL_BUCKETS_S, ("handler",)),
        event_age=histogram("event_age_seconds", "From received to finished", _AGE_BUCKETS_S),
        dead=counter("dead_total", "Events put to the dead letters", ("reason",)),
        rebalances=counter("rebalances_total", "Partitions assigned, revoked or lost", ("change",)),
        lag_records=gauge("lag_records", "Records of the partition that are not finished", ("partition",)),
        lag_seconds=gauge("lag_seconds", "Age of the partition's oldest unfinished record", ("partition",)),
        held_records=gauge("held_records", "Records in memory that are not finished"),
        poll_age=gauge("poll_age_seconds", "Since the worker last asked the queue for records"),
    )


class Tally:
    """Counts tries. It keeps the labelled children at hand, since finding them costs more than counting."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._outcomes: dict[tuple[str, str], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def tried(self, handler: str, outcome: str) -> None:
        """A try ended."""
        counter = self._outcomes.get((handler, outcome))
        if counter is None:
            counter = self._outcomes[handler, outcome] = self._metrics.events_handled.labels(handler, outcome)
        counter.inc()

    def took(self, handler: str, seconds: float) -> None:
        """A handler was called."""
        histogram = self._seconds.get(handler)
        if histogram is None:
            histogram = self._seconds[handler] = self._metrics.handler_seconds.labels(handler)
        histogram.observe(seconds)

    def finished(self, age_s: float) -> None:
        """An event is finished, so long after it was received."""
        self._metrics.event_age.observe(age_s)

    def died(self, reason: str) -> None:
        """A dead letter was written."""
        self._metrics.dead.labels(reason).inc()
