"""The systems that have a server, and what goes wrong with each in its own way."""

import os
import signal
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg

from tests.databases.server import DatabaseServer
from tests.mariadb.server import asked
from tests.mariadb.server import direct as to_mariadb
from tests.redis.server import direct as to_redis


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system."""

    #: The fixtures that start servers of a test's own, and that give the URL of an empty queue.
    servers: str
    url: str
    #: What we say of a server that was stopped or killed.
    gone: str
    #: Take one of our sessions away from under its client.
    end_a_session: Callable[[DatabaseServer], None]
    #: Have it take no writes any more, as a server that another has taken over from; who is there may stay, and read.
    take_no_writes: Callable[[DatabaseServer], None]
    #: What makes a stream in one server that of another, where to make it by its name is not enough.
    copy: Callable[[DatabaseServer, DatabaseServer], None] = lambda *_: None
    #: How many offsets are left out at least each time it was started again.
    leap: int = 0


def _end_of_postgresql(server: DatabaseServer) -> None:
    # The server then throws out everybody and recovers, as after any process of it that crashed.
    with psycopg.connect(server.url(), autocommit=True) as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity WHERE query LIKE 'COMMIT%' LIMIT 1").fetchall()
    for (pid,) in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _end_of_mariadb(server: DatabaseServer) -> None:
    with closing(to_mariadb(server.url())) as connection:
        ours = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for (number,) in asked(connection, f"{ours} AND time_ms < 100 ORDER BY time_ms LIMIT 1"):
            asked(connection, f"KILL {number}")


def _end_of_redis(server: DatabaseServer) -> None:
    with closing(to_redis(server.url())) as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _read_only_postgresql(server: DatabaseServer) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")


def _read_only_mariadb(server: DatabaseServer) -> None:
    with closing(to_mariadb(server.url())) as connection:
        asked(connection, "SET GLOBAL read_only = 1")


def _cut_off_redis(server: DatabaseServer) -> None:
    with closing(to_redis(server.url())) as client:
        client.config_set("min-replicas-to-write", "1")


def _copy_redis(server: DatabaseServer, other: DatabaseServer) -> None:
    with closing(to_redis(server.url())) as here, closing(to_redis(other.url())) as there:
        for key in here.scan_iter():
            there.restore(key, 0, here.dump(key), replace=True)


SYSTEMS = {
    "postgresql": System(
        servers="postgresql_servers",
        url="postgresql_url",
        gone=r"terminating|closed|refused|lost",
        end_a_session=_end_of_postgresql,
        take_no_writes=_read_only_postgresql,
    ),
    "mariadb": System(
        servers="mariadb_servers",
        url="mariadb_url",
        gone=r"closed|refused|Lost|lost|shutdown",
        end_a_session=_end_of_mariadb,
        take_no_writes=_read_only_mariadb,
    ),
    "redis": System(
        servers="redis_servers",
        url="redis_url",
        gone=r"closed|refused|reset",
        end_a_session=_end_of_redis,
        take_no_writes=_cut_off_redis,
        copy=_copy_redis,
        leap=1_000_000,
    ),
}
