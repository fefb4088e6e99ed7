"""The processors' metrics. No label names a portal: there may be a hundred thousand of them."""

from bisect import bisect_left
from collections import Counter as Counted
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import inf
from time import time
from typing import Generic, Literal, TypeAlias, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from forebay.schemas.names import METRICS_PREFIX

from .outcome import DONE, UNHANDLED

#: What of several processes' gauges is shown.
Of: TypeAlias = Literal["livemax", "livesum", "mostrecent"]

#: The handler of an event that has none.
NOBODY = ""

_CALL_BUCKETS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
#: Events may wait long, and how long is what people want to know.
_AGE_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400)

#: Why an event becomes a dead letter (retry.py), and what happens to a partition. These series exist from the start: of
#: one that is born with its first thousand, Prometheus sees no increase.
_DEATHS = ("rejected", "failed", "deadline", "killed", "undecodable", "discarded")
_CHANGES = ("assigned", "revoked", "lost")


class BulkHistogram(Histogram):
    """A histogram that also takes many observations at once, already counted by bucket."""

    def observe_all(self, counts: Sequence[int], total: float) -> None:
        """As many `observe`s as the counts say, one for each bound and +Inf; the total is the sum of what was seen."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


class OfGroup(Generic[_Metric]):
    """A metric with more labels than the group's, which is given already where there is one."""

    def __init__(self, metric: _Metric, *group: str) -> None:
        self._metric, self._group = metric, group

    def labels(self, *values: object) -> _Metric:
        """The metric for these values of the other labels."""
        return self._metric.labels(*self._group, *values)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMetrics:
    """What a worker counts, for its group."""

    events_handled: OfGroup[Counter]
    handler_seconds: OfGroup[BulkHistogram]
    event_age: BulkHistogram
    dead: OfGroup[Counter]
    dead_at: OfGroup[Gauge]
    quarantined: OfGroup[Counter]
    rebalances: OfGroup[Counter]
    assigned_at: OfGroup[Gauge]
    lag_records: OfGroup[Gauge]
    lag_seconds: OfGroup[Gauge]
    actionable_lag: Gauge
    held_records: Gauge
    poll_age: Gauge
    offset_reset: Gauge
    parked_portals: Gauge
    parked_records: Gauge
    parked_oldest: Gauge


def build_metrics(registry: CollectorRegistry = REGISTRY, group: str = "forebay") -> WorkerMetrics:
    """The metrics of a process that has one group, registered. Call it once for each registry."""
    return metrics_of((group,), registry)[group]


def metrics_of(groups: Collection[str], registry: CollectorRegistry = REGISTRY) -> dict[str, WorkerMetrics]:
    """Group → its metrics, registered. Where there are several, they have the group for a label.

    Call it once for each registry.
    """
    label = ("group",) if len(groups) > 1 else ()

    def counter(name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, (*label, *labels), namespace=METRICS_PREFIX, registry=registry)

    def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> BulkHistogram:
        return BulkHistogram(
            name, text, (*label, *labels), buckets=buckets, namespace=METRICS_PREFIX, registry=registry
        )

    def gauge(name: str, text: str, *labels: str, of_all: Of = "livemax") -> Gauge:
        # Of several processes the one that is worst off counts, or their sum; one that ended counts no more.
        return Gauge(
            name, text, (*label, *labels), namespace=METRICS_PREFIX, registry=registry, multiprocess_mode=of_all
        )

    events_handled = counter("events_handled_total", "Tries, by how they ended", "handler", "outcome")
    handler_seconds = histogram("handler_seconds", "How long a handler took", _CALL_BUCKETS_S, "handler")
    event_age = histogram("event_age_seconds", "From received to finished", _AGE_BUCKETS_S)
    dead = counter("dead_total", "Events put to the dead letters", "reason")
    last = "When an event was last put to the dead letters; 0 or nothing for never"
    dead_at = gauge("dead_timestamp_seconds", last, "reason", of_all="mostrecent")
    quarantined = counter("events_quarantined_total", "Events put to quarantine by a worker", "reason")
    rebalances = counter("rebalances_total", "Partitions assigned, revoked or lost", "change")
    given = "When the partition was given to the worker; 0 when it is not its own"
    assigned_at = gauge("assigned_timestamp_seconds", given, "partition")
    lag_records = gauge("lag_records", "Records of the partition that are not finished", "partition")
    lag_seconds = gauge("lag_seconds", "Age of the partition's oldest unfinished record", "partition")
    actionable_lag = gauge("actionable_lag_seconds", "Age of the oldest unfinished record of a portal that is well")
    held_records = gauge("held_records", "Records in memory that are not finished")
    poll_age = gauge("poll_age_seconds", "Since the worker last asked the queue for records, and since that answered")
    offset_reset = gauge(
        "offset_reset_timestamp_seconds", "When the group last began a partition without a place in it; 0 for never"
    )
    parked_portals = gauge("parked_portals", "Portals that wait in the parked stream", of_all="livesum")
    parked_records = gauge("parked_records", "Records that wait in the parked stream", of_all="livesum")
    parked_oldest = gauge("parked_oldest_seconds", "For how long the portal is parked that was parked first")

    for own in [(group,) if label else () for group in groups]:
        for reason in _DEATHS:
            dead.labels(*own, reason)
            dead_at.labels(*own, reason)
        for change in _CHANGES:
            rebalances.labels(*own, change)
    return {
        group: WorkerMetrics(
            events_handled=OfGroup(events_handled, *own),
            handler_seconds=OfGroup(handler_seconds, *own),
            event_age=_of(event_age, own),
            dead=OfGroup(dead, *own),
            dead_at=OfGroup(dead_at, *own),
            quarantined=OfGroup(quarantined, *own),
            rebalances=OfGroup(rebalances, *own),
            assigned_at=OfGroup(assigned_at, *own),
            lag_records=OfGroup(lag_records, *own),
            lag_seconds=OfGroup(lag_seconds, *own),
            actionable_lag=_of(actionable_lag, own),
            held_records=_of(held_records, own),
            poll_age=_of(poll_age, own),
            offset_reset=_of(offset_reset, own),
            parked_portals=_of(parked_portals, own),
            parked_records=_of(parked_records, own),
            parked_oldest=_of(parked_oldest, own),
        )
        for group, own in ((group, (group,) if label else ()) for group in groups)
    }


def _of(metric: _Metric, group: tuple[str, ...]) -> _Metric:
    return metric.labels(*group) if group else metric


class Tally:
    """Counts tries in plain numbers, and hands them to the metrics now and then.

    To count in the metrics themselves, which are safe for threads and processes, costs more than a handler that does
    little.
    """

    def __init__(self, metrics: WorkerMetrics, *, now: Callable[[], float] = time) -> None:
        self._metrics, self._now = metrics, now
        self._outcomes: Counted[tuple[str, str]] = Counted()
        self._done: Counted[str] = Counted()
        self._seconds: dict[str, _Observations] = {}
        self._age_s = _Observations(_AGE_BUCKETS_S)

    def tried(self, handler: str, outcome: str, events: int = 1) -> None:
        """A try ended, at so many events."""
        if events:
            self._outcomes[handler, outcome] += events

    def done(self, handler: str) -> None:
        """A try ended as nearly all do."""
        self._done[handler] += 1

    def done_all(self, handlers: Sequence[str]) -> None:
        """The same of several. Nobody's events are done, too: they are told as unhandled."""
        self._done.update(handlers)

    def took(self, handler: str, seconds: float) -> None:
        """A handler was called."""
        seen = self._seconds.get(handler)
        if seen is None:
            seen = self._seconds[handler] = _Observations(_CALL_BUCKETS_S)
        seen.counts[bisect_left(seen.bounds, seconds)] += 1
        seen.total += seconds

    def finished(self, received_ms: int, now_s: float) -> None:
        """An event is finished now that was received then."""
        seen, age_s = self._age_s, (now_s * 1000 - received_ms) / 1000
        seen.counts[bisect_left(seen.bounds, age_s)] += 1
        seen.total += age_s

    def finished_all(self, received_ms: Sequence[int], now_s: float) -> None:
        """The same of events that are finished together."""
        seen, now_ms = self._age_s, now_s * 1000
        youngest = bisect_left(seen.bounds, (now_ms - max(received_ms)) / 1000)
        oldest = bisect_left(seen.bounds, (now_ms - min(received_ms)) / 1000)
        if youngest == oldest:
            seen.counts[oldest] += len(received_ms)
            seen.total += (now_ms * len(received_ms) - sum(received_ms)) / 1000
        else:
            for one_ms in received_ms:
                self.finished(one_ms, now_s)

    def died(self, reason: str) -> None:
        """A dead letter was written."""
        self._metrics.dead.labels(reason).inc()
        self._metrics.dead_at.labels(reason).set(self._now())

    def quarantined(self, reason: str) -> None:
        """An event was put to quarantine."""
        self._metrics.quarantined.labels(reason).inc()

    def flush(self) -> None:
        """Bring the metrics up to date."""
        for handler, count in self._done.items():
            outcome = UNHANDLED.label if handler == NOBODY else DONE.label
            self._metrics.events_handled.labels(handler, outcome).inc(count)
        for (handler, outcome), count in self._outcomes.items():
            self._metrics.events_handled.labels(handler, outcome).inc(count)
        for handler, seen in self._seconds.items():
            seen.move_to(self._metrics.handler_seconds.labels(handler))
        self._age_s.move_to(self._metrics.event_age)
        self._outcomes.clear()
        self._done.clear()


class _Observations:
    """What a histogram is to hear of, already counted."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = (*bounds, inf)
        self.counts = [0] * len(self.bounds)
        self.total = 0.0

    def move_to(self, histogram: BulkHistogram) -> None:
        histogram.observe_all(self.counts, self.total)
        self.counts = [0] * len(self.bounds)
        self.total = 0.0
