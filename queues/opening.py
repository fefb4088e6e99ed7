"""From a URL to a queue. A system's client library is imported only when its scheme is asked for."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import Any, NamedTuple

from forebay.queues.contract import ChecksSettings, Queue
from forebay.queues.errors import ClientMissing, QueueError
from forebay.queues.settings import QueueSettings

#: Scheme → what is to be done instead.
_REFUSED = {
    "mysql": "mysql is not supported: MySQL differs from MariaDB in what we rest on; for a MariaDB write mariadb://"
}


class _System(NamedTuple):
    """What opens a system's queue, and what that needs. Names are those of modules here."""

    queue: str
    #: What reads its URL, where that can be wrong by itself.
    address: str | None = None
    #: The library that both stand on, and the extra that brings it; None where it comes with Forebay.
    client: str | None = None
    extra: str | None = None
    #: Why nothing about portals can be kept there.
    keeps_no_portals: str | None = None


_REDIS = _System("redis.queue", "redis.address:address", "redis", "redis")

_RABBITMQ = _System(
    "rabbitmq.queue",
    "rabbitmq.address:address",
    "pika",
    "rabbitmq",
    keeps_no_portals="RabbitMQ can't keep what is known of portals, since nothing of a stream can be erased",
)

_MEMCACHED = _System(
    "memcached.queue",
    "memcached.address:address",
    "pymemcache",
    "memcached",
    keeps_no_portals="Memcached can't keep what is known of portals, since it may lose it at any time",
)

#: By the scheme of the URL.
_SYSTEMS = {
    "sqlite": _System("sql.queue", "sql.address:path_of", "sqlalchemy"),
    "postgresql": _System("sql.queue", "sql.postgresql.address:parameters", "psycopg", "postgresql"),
    "mariadb": _System("sql.queue", "sql.mariadb.address:address", "pymysql", "mariadb"),
    "redis": _REDIS,
    "rediss": _REDIS,
    "memcached": _MEMCACHED,
    "memory": _System("memory"),
    "amqp": _RABBITMQ,
    "amqps": _RABBITMQ,
    "kafka": _System("kafka.queue", "kafka.address:bootstrap_servers", "confluent_kafka"),
}


def scheme_of(queue_url: str) -> str:
    """Which system the URL names. Raises `QueueError` when there is no such system."""
    # Only the scheme: what comes after it may hold a password, and is its system's to read.
    scheme = queue_url.partition(":")[0].partition("+")[0]
    if scheme in _REFUSED:
        raise QueueError(f"queue_url: {_REFUSED[scheme]}")
    if scheme not in _SYSTEMS:
        raise QueueError(f"queue_url: no queue is called {scheme!r}; there are {', '.join(sorted(_SYSTEMS))}")
    return scheme


def check_url(queue_url: str) -> None:
    """Raise `QueueError` when no queue could ever be opened by the URL; it quotes nothing of it but the scheme."""
    scheme = scheme_of(queue_url)
    system = _SYSTEMS[scheme]
    if system.address and system.client and find_spec(system.client) is not None:
        _resolved(system.address, scheme, "queue_url")(queue_url)


def faults_of(queue_url: str, kafka: Mapping[str, Any]) -> list[str]:
    """What the setting `kafka` can't contain, where it is used. Raises `QueueError` when there is no such system."""
    if scheme_of(queue_url) != "kafka" or not kafka or find_spec("confluent_kafka") is None:
        return []
    faults: list[str] = resolve_name("forebay.queues.kafka.properties:faults_of")(kafka)
    return faults


def why_no_portals(queue_url: str) -> str | None:
    """Why facts about portals can't be kept there; None where they can. Raises `QueueError` as `scheme_of` does."""
    return _SYSTEMS[scheme_of(queue_url)].keeps_no_portals


def open_queue(settings: QueueSettings) -> Queue:
    """The queue of the setting `queue_url`, not connected yet. Raises `QueueError`: no such system, or no client."""
    check_client(settings.queue_url)
    scheme = scheme_of(settings.queue_url)
    opened: Queue = _resolved(f"{_SYSTEMS[scheme].queue}:open_queue", scheme, "queue_url")(settings)
    return opened


def open_checked(settings: QueueSettings) -> Queue:
    """The same for who is going to serve. Raises also what a worker would end by that makes a client of its own."""
    queue = open_queue(settings)
    if isinstance(queue, ChecksSettings):
        queue.check_settings()
    return queue


def check_client(url: str, setting: str = "queue_url") -> None:
    """Raise `ClientMissing` where the library is not there, or can't be used, that the URL of this setting needs."""
    scheme = scheme_of(url)
    system = _SYSTEMS[scheme]
    if system.client and find_spec(system.client) is None:
        raise ClientMissing(
            f"{setting}: {scheme} needs a library that is missing: pip install 'forebay[{system.extra}]'"
        )
    if system.address:
        _resolved(system.address, scheme, setting)


def _resolved(name: str, scheme: str, setting: str) -> Callable[..., Any]:
    extra = _SYSTEMS[scheme].extra
    try:
        found: Callable[..., Any] = resolve_name(f"forebay.queues.{name}")
        return found
    except ImportError as error:
        if extra is None:
            raise
        # There, but without what it stands on, as psycopg without libpq.
        raise ClientMissing(f"{setting}: {scheme} can't be used ({error}): pip install 'forebay[{extra}]'") from error
