"""From a URL to a queue. A system's client library is imported only when its scheme is asked for."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from forebay.queues.contract import Queue
from forebay.queues.errors import ClientMissing, QueueError
from forebay.queues.settings import QueueSettings

#: Scheme → what is to be done instead.
_REFUSED = {
    "mysql": "mysql is not supported: MySQL differs from MariaDB in what we rest on; for a MariaDB write mariadb://"
}

#: Schemes whose URL can be wrong by itself → the module that reads it, and what that module is called there.
_ADDRESSES = {
    "sqlite": ("forebay.queues.sql.address", "path_of"),
    "kafka": ("forebay.queues.kafka.address", "bootstrap_servers"),
    "postgresql": ("forebay.queues.sql.postgresql.address", "parameters"),
    "mariadb": ("forebay.queues.sql.mariadb.address", "address"),
    "redis": ("forebay.queues.redis.address", "address"),
    "rediss": ("forebay.queues.redis.address", "address"),
    "memcached": ("forebay.queues.memcached.address", "address"),
    "amqp": ("forebay.queues.rabbitmq.address", "address"),
    "amqps": ("forebay.queues.rabbitmq.address", "address"),
}

#: Scheme → why nothing about portals can be kept there.
_KEEP_NO_PORTALS = dict.fromkeys(
    ("amqp", "amqps"), "RabbitMQ can't keep what is known of portals, since nothing of a stream can be erased"
) | {"memcached": "Memcached can't keep what is known of portals, since it may lose it at any time"}

#: Scheme → our module, what it imports, and the extra that brings it.
_SYSTEMS = {
    "sqlite": ("forebay.queues.sql.queue", "sqlalchemy", None),
    "postgresql": ("forebay.queues.sql.queue", "psycopg", "postgresql"),
    "mariadb": ("forebay.queues.sql.queue", "pymysql", "mariadb"),
    "redis": ("forebay.queues.redis.queue", "redis", "redis"),
    "rediss": ("forebay.queues.redis.queue", "redis", "redis"),
    "memcached": ("forebay.queues.memcached.queue", "pymemcache", "memcached"),
    "memory": ("forebay.queues.memory", None, None),
    "amqp": ("forebay.queues.rabbitmq.queue", "pika", "rabbitmq"),
    "amqps": ("forebay.queues.rabbitmq.queue", "pika", "rabbitmq"),
    "kafka": ("forebay.queues.kafka.queue", "confluent_kafka", None),
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
    client = _SYSTEMS[scheme][1]
    if scheme in _ADDRESSES and client is not None and find_spec(client) is not None:
        module, read = _ADDRESSES[scheme]
        getattr(_imported(module, scheme, "queue_url"), read)(queue_url)


def faults_of(queue_url: str, kafka: Mapping[str, Any]) -> list[str]:
    """What the setting `kafka` can't contain, where it is used. Raises `QueueError` when there is no such system."""
    if scheme_of(queue_url) != "kafka" or not kafka or find_spec("confluent_kafka") is None:
        return []
    faults: list[str] = import_module("forebay.queues.kafka.properties").faults_of(kafka)
    return faults


def why_no_portals(queue_url: str) -> str | None:
    """Why facts about portals can't be kept there; None where they can. Raises `QueueError` as `scheme_of` does."""
    return _KEEP_NO_PORTALS.get(scheme_of(queue_url))


def open_queue(settings: QueueSettings) -> Queue:
    """The queue of the setting `queue_url`, not connected yet. Raises `QueueError`: no such system, or no client."""
    check_client(settings.queue_url)
    scheme = scheme_of(settings.queue_url)
    opened: Queue = _imported(_SYSTEMS[scheme][0], scheme, "queue_url").open_queue(settings)
    return opened


def check_client(url: str, setting: str = "queue_url") -> None:
    """Raise `ClientMissing` where the library is not there, or can't be used, that the URL of this setting needs."""
    scheme = scheme_of(url)
    _, client, extra = _SYSTEMS[scheme]
    if client and find_spec(client) is None:
        raise ClientMissing(f"{setting}: {scheme} needs a library that is missing: pip install 'forebay[{extra}]'")
    if scheme in _ADDRESSES:
        _imported(_ADDRESSES[scheme][0], scheme, setting)


def _imported(module: str, scheme: str, setting: str) -> ModuleType:
    extra = _SYSTEMS[scheme][2]
    try:
        return import_module(module)
    except ImportError as error:
        if extra is None:
            raise
        # There, but without what it stands on, as psycopg without libpq.
        raise ClientMissing(f"{setting}: {scheme} can't be used ({error}): pip install 'forebay[{extra}]'") from error
