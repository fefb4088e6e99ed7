"""What the canary shows of its events. Every series exists from the start."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from forebay.queues.findings import Finding, State
from forebay.schemas.names import CERTIFICATE_EXPIRY, METRICS_PREFIX

from .canary_probe import STAGES, Passage

#: From an answer on the same machine to an event that waits behind others.
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

#: Of findings, what one may have to do something about.
_STATES: tuple[State, ...] = ("warn", "fail")


class CanaryMetrics:
    """Registered where it is told. Use once for each registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = f"{METRICS_PREFIX}_canary"
        self._sent = Counter(f"{prefix}_sent", "Events that the canary sent", registry=registry)
        self._seen = Counter(f"{prefix}_seen", "Events of the canary that came through", registry=registry)
        self._missed = Counter(
            f"{prefix}_missed", "Events of the canary that did not, by the stage", ["stage"], registry=registry
        )
        self._seconds = Histogram(
            f"{prefix}_seconds", "From sending to the stage", ["stage"], buckets=_BUCKETS_S, registry=registry
        )
        self._last_success = Gauge(
            f"{prefix}_last_success_timestamp_seconds",
            "When an event last came through; 0 for never",
            registry=registry,
        )
        self._findings = Gauge(
            f"{prefix}_queue_findings",
            "What forebay doctor would find in the queue, by its state",
            ["state"],
            registry=registry,
        )
        name, text = CERTIFICATE_EXPIRY
        self._certificate_expiry = Gauge(name, text, ["certificate"], registry=registry)
        for stage in STAGES:
            self._missed.labels(stage)
            self._seconds.labels(stage)
        self.looked([])

    def sent(self) -> None:
        """An event is on its way."""
        self._sent.inc()

    def passed(self, passage: Passage, now: float) -> None:
        """It has come through, or is given up."""
        for stage, seconds in passage.seconds.items():
            self._seconds.labels(stage).observe(seconds)
        if passage.certificate_end is not None:
            self._certificate_expiry.labels("endpoint").set(passage.certificate_end)
        if passage.missed is not None:
            self._missed.labels(passage.missed).inc()
        else:
            self._seen.inc()
            self._last_success.set(now)

    def looked(self, found: Iterable[Finding]) -> None:
        """The queue was looked at."""
        states = [finding.state for finding in found]
        for state in _STATES:
            self._findings.labels(state).set(states.count(state))
