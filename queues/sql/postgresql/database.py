"""PostgreSQL: a server, many writers at once, and readers that are told of news."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, LiteralString, cast

import psycopg
from psycopg.errors import Diagnostic, ReadOnlySqlTransaction
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, NullPool, create_engine

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PlacedFact

from ...batches.records import MAX_RECORD_BYTES
from ...threads.sockets import has_come
from ...threads.undone import Undone
from ..database import Place, Row, Undecided, Watch
from . import diagnosis, primaries, statements
from .address import name_of, parameters
from .listening import Listening, announcements
from .remedies import DEADLOCK, kept_back, remedy, state_of
from .session import Session, SharedSession, begin, open_session

#: Milliseconds that a session may stand still within a transaction. Others wait for its locks, and a client that is
#: frozen, or whose machine is gone, would hold them for ever. Far below a third of a session, in which heartbeats come.
_IDLE_MS = 2_000

#: Milliseconds that we wait for a lock: longer than anybody of ours may keep one.
_LOCK_MS = 5_000


class PostgresqlDatabase:
    """A database of a server; COMMIT returns when the server has it on its disk, and on a synchronous standby's."""

    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, url: str, *, idle_ms: int = _IDLE_MS, lock_ms: int = _LOCK_MS) -> None:
        self._parameters = parameters(url)
        self._session = {
            "idle_in_transaction_session_timeout": str(idle_ms),
            "lock_timeout": str(lock_ms),
            # What is told here rests on it: each statement sees what was committed before it began.
            "default_transaction_isolation": "read committed",
            # Limits for people, and for programs that forget. A look through all records may take long.
            "statement_timeout": "0",
            "transaction_timeout": "0",
            "idle_session_timeout": "0",
            # Rows that a policy keeps from this user are an error, and not events that nobody ever sees.
            "row_security": "off",
            # What an event holds is in no log of the server's, also where somebody looks for what went wrong.
            "log_parameter_max_length_on_error": "0",
            # Of a COMMIT, a warning is all that tells that it was not waited for.
            "client_min_messages": "warning",
        }
        self._engine = create_engine(
            "postgresql+psycopg://",
            creator=self._open,
            poolclass=NullPool,
            # What is closed here is not used again.
            pool_reset_on_return=None,
            use_native_hstore=False,
            hide_parameters=True,
        ).execution_options(isolation_level="AUTOCOMMIT")

    @property
    def name(self) -> str:
        """As in the protocol."""
        return name_of(self._parameters)

    def exists(self) -> bool:
        """As in the protocol: there is a server, or an error to tell."""
        return True

    def create(self) -> None:
        """As in the protocol. A database is its administrator's to make."""

    def tune(self, connection: Connection) -> None:
        """As in the protocol."""
        for statement in statements.TUNE:
            _opened(connection).execute(statement)

    def count(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol. Beside the tables: whoever finds these finds it, also by another search_path."""
        [(schema,)] = _opened(connection).execute(statements.SCHEMA)
        for place in places:
            _opened(connection).execute(SQL(statements.COUNTER).format(Identifier(schema), *place))

    def uncounted(self, connection: Connection, places: Sequence[Place]) -> list[Place]:
        """As in the protocol. Logical replication carries no sequence, nor does a dump of the tables by their names."""
        found = _opened(connection).execute(statements.UNCOUNTED, _columns(places, 2))
        return [Place(*place) for place in found]

    def connect(self) -> Connection:
        """As in the protocol."""
        return self._engine.connect()

    def _open(self) -> Session:
        return open_session(self._parameters, self._session)

    def current(self, connection: Connection) -> bool:
        """As in the protocol. A server that went away while we did nothing has said so to the socket."""
        return not connection.invalidated and _lives(_opened(connection))

    @contextmanager
    def writing(self, connection: Connection, *, alone: str = "", beside: str = "") -> Iterator[None]:
        """As in the protocol."""
        opened = _opened(connection)
        try:
            begin(opened)
            for statement, turn in ((statements.ALONE, alone), (statements.BESIDE, beside)):
                if turn:
                    opened.execute(statement, (turn,))
            yield
        except BaseException as error:
            # A connection that is lost has nothing to undo, and says so again.
            with suppress(psycopg.Error):
                opened.execute("ROLLBACK", prepare=False)
            if state_of(error) == DEADLOCK:
                raise Undone(remedy(self.name, error)) from error
            raise
        self._commit(opened)

    def _commit(self, opened: Session) -> None:
        warnings: list[str] = []

        def hear(said: Diagnostic) -> None:
            warnings.append(said.message_primary or "a warning")

        opened.add_notice_handler(hear)
        try:
            opened.execute("COMMIT", prepare=False)
        except psycopg.Error as error:
            # A server that answers has not committed. One that is gone may have.
            if opened.closed:
                raise Undecided(self.remedy(error)) from error
            raise
        finally:
            opened.remove_notice_handler(hear)
        if warnings:
            # It stands on this server's disk, and somebody has cut off the wait for the standby's.
            raise Undecided(remedy(self.name, psycopg.Warning(warnings[0])))

    def remedy(self, error: Exception) -> str:
        """As in the protocol."""
        return remedy(self.name, error)

    def now_ms(self, connection: Connection) -> int:
        """As in the protocol."""
        return _number(connection, statements.NOW_MS)

    def record_bytes(self, connection: Connection) -> int:
        """As in the protocol."""
        return MAX_RECORD_BYTES

    def ends(self, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        """As in the protocol."""
        return _by_place(connection, statements.ENDS, _columns(places, 2))

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """As in the protocol."""
        wanted = [(*place, count) for place, count in counts.items()]
        return _by_place(connection, statements.TAKE, _columns(wanted, 3))

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """As in the protocol. Raises `QueueUnavailable` where a trigger or a rule of somebody leaves out rows."""
        written = _opened(connection).execute(statements.APPEND, _row_columns(rows)).rowcount
        if written != len(rows):
            raise QueueUnavailable(kept_back(self.name, len(rows) - written))

    def kept(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """As in the protocol.

        Not by the transaction's number: a server that crashed before it had written anything of it gives it to another.
        What every group has finished and retention has deleted by now is taken for not kept: it then comes twice.
        """
        with self.writing(connection):
            _opened(connection).execute(statements.AFTER_OTHERS, (rows[0].stream, rows[0].partition))
            return _number(connection, statements.KEPT, _row_columns(rows)) == len(rows)

    def announce(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol. Not in the records' transaction: its COMMIT would hold up all others that announce."""
        told = announcements(places)
        _opened(connection).execute(statements.ANNOUNCE, (list(told), list(told.values())))

    def watch(self, stream: int) -> Watch:
        """As in the protocol."""
        return Listening(stream)

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """As in the protocol."""
        with _opened(connection).cursor(binary=True) as cursor:
            found = cursor.execute(statements.READ, (*place, offset, max_records, max_bytes)).fetchall()
        return [
            Row(*place, offset, timestamp_ms, key.decode(), headers, value)
            for offset, timestamp_ms, key, headers, value in found
        ]

    def check_writes(self, connection: Connection) -> None:
        """As in the protocol."""
        [(read_only,)] = _opened(connection).execute(statements.READ_ONLY)
        if read_only != "off":
            raise ReadOnlySqlTransaction(f"transaction_read_only = {read_only}")

    def facts(self, connection: Connection, stream: int, start: int, max_facts: int) -> list[PlacedFact]:
        """As in the protocol."""
        with _opened(connection).cursor(binary=True) as cursor:
            return list(map(PlacedFact._make, cursor.execute(statements.FACTS, (stream, start, max_facts))))

    def findings(self, connection: Connection, needs: Needs) -> Iterable[Finding]:
        """As in the protocol."""
        return [
            *diagnosis.findings(connection),
            diagnosis.sessions(shared=self._shares_sessions(connection)),
            *primaries.findings(self._parameters),
        ]

    def _shares_sessions(self, connection: Connection) -> bool:
        # Whoever comes last has marked the session that both have, if there is such a one.
        with closing(self.connect()):
            try:
                with self.writing(connection):
                    return False
            except SharedSession:
                return True


def _lives(opened: Session) -> bool:
    try:
        while not opened.closed and has_come(opened.fileno()):
            opened.pgconn.consume_input()
    except psycopg.Error:
        return False
    return not opened.closed


def _opened(connection: Connection) -> Session:
    return cast(Session, connection.connection.dbapi_connection)


def _number(connection: Connection, statement: LiteralString, values: Sequence[object] = ()) -> int:
    [(found,)] = _opened(connection).execute(statement, values)
    return int(found)


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> tuple[list[int], ...]:
    return tuple([row[column] for row in rows] for column in range(width))


def _row_columns(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    columns: tuple[list[Any], ...] = tuple(map(list, zip(*rows, strict=True)))
    keys = [row.key.encode() for row in rows]
    return (*columns[:4], keys, *columns[5:])


def _by_place(connection: Connection, statement: LiteralString, columns: tuple[list[int], ...]) -> dict[Place, int]:
    found = _opened(connection).execute(statement, columns)
    return {Place(stream, partition): offset for stream, partition, offset in found}
