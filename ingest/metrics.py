"""What the ingest counts. No label ever names a portal: there may be 100,000, and anybody can make up more."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from forebay.queues.certificates import Certificates
from forebay.schemas.names import CERTIFICATE_EXPIRY, METRICS_PREFIX

from .callers.allow_list import AllowList
from .durations import Durations
from .spool.spool import Spool

#: The outcomes of a request, as the interface lists them.
OUTCOMES = ("accepted", "spooled", "quarantined", "refused_auth", "refused_input", "refused_full")

#: That of a call which was kept nowhere.
_LOST = "refused_full"

#: What the OAuth server says of a token.
VERDICTS = ("confirmed", "denied", "unknown", "unavailable")

#: What the spool shows, beside how long its writes take.
_SPOOL = {
    "records": "Events that the spool holds for the queue",
    "bytes": "Their bytes",
    "oldest_seconds": "The age of the oldest",
    "max_bytes": "The setting spool_max_bytes: with more, calls are refused while the queue is gone",
    "unavailable": "1 while the spool would take nothing",
}
_MS = 1000

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """The ingest's counts of one endpoint. Every series exists from the start, so that a first refusal is seen."""

    def __init__(self, metrics: "IngestMetrics", endpoint: str) -> None:
        self._metrics = metrics
        self._answer_seconds = metrics.answer_seconds
        self._queue_ack_seconds = metrics.queue_ack_seconds
        self._requests = {outcome: metrics.requests.labels(endpoint, outcome) for outcome in OUTCOMES}

    def answered(self, outcome: str, seconds: float) -> None:
        """Count a call that ended so, after that time."""
        self._requests[outcome].inc()
        self._answer_seconds.took(seconds)
        if outcome == _LOST:
            self._metrics.lost()

    def acknowledged(self, seconds: float) -> None:
        """Count a record that the queue took or refused after that time."""
        self._queue_ack_seconds.took(seconds)


class PortalCounts:
    """What became of portals whose tokens are learned from their calls."""

    def __init__(self, metrics: "IngestMetrics") -> None:
        prefix, registry = METRICS_PREFIX, metrics.registry
        self._verified = Counter(
            f"{prefix}_portals_verifications", "Tokens that were verified, by outcome", ["outcome"], registry=registry
        )
        self._expired = Counter(
            f"{prefix}_portals_expired", "Tokens that were not verified within a day", registry=registry
        )
        self._renamed = Counter(f"{prefix}_portals_renamed", "Markers ONPORTALRENAMED that are kept", registry=registry)
        self._unverified = Counter(
            f"{prefix}_ingest_unverified", "Calls that were taken before their portal was verified", registry=registry
        )
        for outcome in VERDICTS:
            self._verified.labels(outcome)

    def verified(self, outcome: str) -> None:
        """A token was asked about."""
        self._verified.labels(outcome).inc()

    def expired(self) -> None:
        """A token has waited for too long."""
        self._expired.inc()

    def renamed(self) -> None:
        """A portal's handlers will learn of its new domain."""
        self._renamed.inc()

    def unverified(self) -> None:
        """A call was taken without a proof."""
        self._unverified.inc()


class IngestMetrics:
    """The ingest's metrics, registered. Of several processes `everyone` gives those of all, when they are asked for."""

    def __init__(self, *, everyone: Callable[[], bytes] | None = None, clock: Callable[[], float] = time) -> None:
        self._everyone, self._clock = everyone, clock
        #: Set what is found out only when somebody asks.
        self._looks: list[Callable[[], None]] = []
        registry = self.registry = CollectorRegistry()
        prefix = METRICS_PREFIX
        self.requests = Counter(
            f"{prefix}_ingest_requests",
            "Calls of endpoints, by how they ended",
            ["endpoint", "outcome"],
            registry=registry,
        )
        self._lost_at = Gauge(
            f"{prefix}_ingest_lost_timestamp_seconds",
            "When a call was last kept nowhere; 0 or nothing for never",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self.not_http = Counter(
            f"{prefix}_ingest_not_http", "Requests that could not be read, by status", ["status"], registry=registry
        )
        self.answer_seconds = Durations(
            f"{prefix}_ingest_answer_seconds", "From the headers to the answer", buckets=_SECONDS, registry=registry
        )
        self.queue_ack_seconds = Durations(
            f"{prefix}_queue_ack_seconds", "From sending to the queue's word", buckets=_SECONDS, registry=registry
        )
        self.spool_fsync_seconds = Durations(
            f"{prefix}_spool_fsync_seconds", "Of one write of the spool", buckets=_SECONDS, registry=registry
        )
        self.gaps = Counter(f"{prefix}_ingest_gaps", "Markers ONFOREBAYGAP that are kept", registry=registry)
        self.gaps_unmarked = Counter(
            f"{prefix}_ingest_gaps_unmarked", "Calls kept nowhere that no marker tells of", registry=registry
        )
        self.gaps_waiting = Gauge(
            f"{prefix}_ingest_gaps_waiting",
            "Portals that are still to be told of a gap",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._allow_list_age = Gauge(
            f"{prefix}_ingest_allow_list_age_seconds",
            "Since the published allow list was read; 0 without one",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._spool_gauges = {
            name: Gauge(f"{prefix}_spool_{name}", text, registry=registry, multiprocess_mode="mostrecent")
            for name, text in _SPOOL.items()
        }
        expiry, meaning = CERTIFICATE_EXPIRY
        self._certificate_expiry = Gauge(
            expiry, meaning, ["certificate"], registry=registry, multiprocess_mode="mostrecent"
        )
        self._build = Gauge(
            f"{prefix}_build_info", "1, by version", ["version"], registry=registry, multiprocess_mode="mostrecent"
        )
        self.version = _version()

    def open(self) -> None:
        """Begin to count in this process, in files of its own where there are several."""
        self._build.labels(self.version).set(1)

    def lost(self) -> None:
        """A call was kept nowhere just now."""
        self._lost_at.set(self._clock())

    def watch(self, spool: Spool) -> None:
        """Show the spool of this host: it is the same for all workers."""
        spool.fsynced = self.spool_fsync_seconds.took
        self._looks.append(partial(self._look_at_spool, spool))

    def watch_allow_list(self, allow_list: AllowList) -> None:
        """Show how old it is."""
        self._looks.append(lambda: self._allow_list_age.set(allow_list.age_s))

    def watch_certificates(self, certificates: Certificates) -> None:
        """Show when they end."""
        self._looks.append(partial(self._look_at_certificates, certificates))

    def _look_at_certificates(self, certificates: Certificates) -> None:
        for whose, at in certificates.expiries().items():
            self._certificate_expiry.labels(whose).set(at)

    def _look_at_spool(self, spool: Spool) -> None:
        self._spool_gauges["unavailable"].set(not spool.is_open or bool(spool.why_not))
        if not spool.is_open:
            return
        counts = spool.counts
        since = max(0.0, self._clock() - counts.oldest_ms / _MS) if counts.oldest_ms else 0.0
        shown = {
            "records": counts.records,
            "bytes": counts.size,
            "oldest_seconds": since,
            "max_bytes": spool.max_bytes,
        }
        for name, value in shown.items():
            self._spool_gauges[name].set(value)

    def exposition(self) -> bytes:
        """The metrics of all workers in Prometheus' text format."""
        self.flush()
        for look in self._looks:
            look()
        return self._everyone() if self._everyone else generate_latest(self.registry)

    def flush(self) -> None:
        """Hand over what was gathered; after it, the files of the metrics have every call."""
        self.answer_seconds.flush()
        self.queue_ack_seconds.flush()
        self.spool_fsync_seconds.flush()


def _version() -> str:
    try:
        return version("forebay")
    except PackageNotFoundError:
        return "unknown"
