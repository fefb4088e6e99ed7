"""What tests of every kind may ask for."""

import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.kafka.fixtures import clusters as clusters
from tests.kafka.fixtures import kafka as kafka
from tests.kafka.fixtures import secured as secured
from tests.mariadb.fixtures import mariadb as mariadb
from tests.mariadb.fixtures import mariadb_servers as mariadb_servers
from tests.mariadb.fixtures import mariadb_url as mariadb_url
from tests.memcached.fixtures import memcached_server as memcached_server
from tests.memcached.fixtures import memcached_servers as memcached_servers
from tests.memcached.fixtures import memcached_url as memcached_url
from tests.ports import free_ports
from tests.postgresql.fixtures import postgresql as postgresql
from tests.postgresql.fixtures import postgresql_servers as postgresql_servers
from tests.postgresql.fixtures import postgresql_url as postgresql_url
from tests.rabbitmq.fixtures import rabbitmq as rabbitmq
from tests.rabbitmq.fixtures import rabbitmq_servers as rabbitmq_servers
from tests.rabbitmq.fixtures import rabbitmq_url as rabbitmq_url
from tests.redis.fixtures import redis_sentinel as redis_sentinel
from tests.redis.fixtures import redis_server as redis_server
from tests.redis.fixtures import redis_servers as redis_servers
from tests.redis.fixtures import redis_url as redis_url

#: A busy machine is no fault, of examples neither.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


#: What a script runs in its background begins deaf to Ctrl-C, and so would the processes of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Between two calls to a test that is past its time.
CALL_AGAIN_S = 60.0


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    """A test past its time hears so until it ends: a task may swallow it, and what cleans up may wait in turn."""
    timer = yield
    if signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0):
        signal.setitimer(signal.ITIMER_REAL, settings.timeout, CALL_AGAIN_S)
    return timer


@pytest.fixture(autouse=True)
def _logs_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets up the log of its whole process, which here is that of all tests."""
    monkeypatch.setattr("forebay.console.terminal.logs.set_up_logs", lambda: None)


@pytest.fixture
def unused_tcp_port() -> int:
    """In place of pytest-asyncio's, which the system may give to somebody's outgoing connection meanwhile."""
    [port] = free_ports(1)
    return port
