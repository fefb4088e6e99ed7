"""The systems that have a server: what a test does beside our own client, and how it says it to each."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import psycopg
from psycopg.abc import Query

from forebay.queues.sql.database import Database
from forebay.queues.sql.mariadb.database import MariadbDatabase
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from tests.mariadb.server import asked, direct


class Client(Protocol):
    """A plain client, in autocommit mode."""

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of the answer."""


class System(Protocol):
    """One system."""

    #: What of its URL makes its words readable on their way.
    plain: str
    #: A statement that keeps everybody else from the records until the transaction ends.
    lock_records: str
    #: What it advises about a lock that nobody lets go.
    stuck: str

    def database(self, url: str, *, idle_s: int = 2, lock_s: int = 5) -> Database:
        """The database under the SQL queue."""

    def client(self, url: str) -> AbstractContextManager[Client]:
        """A context with a `Client` in it."""

    def waiting(self, client: Client) -> int:
        """How many sessions of this database wait for another's lock."""


@dataclass(frozen=True, slots=True)
class _PostgresqlClient:
    connection: "psycopg.Connection[Any]"

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        found = self.connection.execute(cast("Query", statement))
        return found.fetchall() if found.description else []


class PostgresqlSystem:
    """PostgreSQL."""

    plain = "sslmode=disable"
    lock_records = "LOCK TABLE forebay_record IN ACCESS EXCLUSIVE MODE"
    stuck = "pg_locks"

    def database(self, url: str, *, idle_s: int = 2, lock_s: int = 5) -> Database:
        return PostgresqlDatabase(url, idle_ms=idle_s * 1000, lock_ms=lock_s * 1000)

    @contextmanager
    def client(self, url: str) -> Iterator[Client]:
        with psycopg.connect(url, autocommit=True) as connection:
            yield _PostgresqlClient(connection)

    def waiting(self, client: Client) -> int:
        [(count,)] = client.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(count)


@dataclass(frozen=True, slots=True)
class _MariadbClient:
    connection: Any

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        return asked(self.connection, statement)


class MariadbSystem:
    """MariaDB."""

    plain = "ssl=off"
    lock_records = "SELECT 1 FROM forebay_partition FOR UPDATE"
    stuck = "INNODB STATUS"

    def database(self, url: str, *, idle_s: int = 2, lock_s: int = 5) -> Database:
        return MariadbDatabase(url, idle_s=idle_s, lock_s=lock_s)

    @contextmanager
    def client(self, url: str) -> Iterator[Client]:
        with closing(direct(url)) as connection:
            yield _MariadbClient(connection)

    def waiting(self, client: Client) -> int:
        [(count,)] = client.ask(
            "SELECT count(*) FROM information_schema.processlist AS p LEFT JOIN information_schema.innodb_trx AS t "
            "ON t.trx_mysql_thread_id = p.id "
            "WHERE p.db = DATABASE() AND (t.trx_state = 'LOCK WAIT' OR p.state = 'User lock')"
        )
        return int(count)


SYSTEMS: dict[str, System] = {"postgresql": PostgresqlSystem(), "mariadb": MariadbSystem()}
