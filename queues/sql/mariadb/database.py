"""MariaDB: a server, many writers at once, and readers that look for news."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from typing import Any

import pymysql
from sqlalchemy import Connection, NullPool, create_engine

from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PlacedFact

from ..database import Place, Row, Watch
from . import connecting, diagnosis, statements
from .address import address
from .asking import opened, run
from .polling import Polling
from .remedies import remedy
from .server import Server, look, refuse_read_only
from .turns import Turns

#: Seconds that a session may stand still within a transaction. Others wait for its locks, and a client that is frozen,
#: or whose machine is gone, would hold them for ever. Far below a third of a session, in which heartbeats come.
_IDLE_S = 2

#: Seconds that we wait for a lock: longer than anybody of ours may keep one.
_LOCK_S = 5

#: As many as the variable takes, which is its default.
_ALL_ROWS = 2**64 - 1

#: Bytes of one INSERT: far below what a server takes by default, and large enough that a statement costs nothing.
_INSERT_BYTES = 2 * 1024 * 1024

#: Where a connection keeps what its server is, the ends that it has seen, and those that a crash can't take back.
_SERVER, _SEEN, _SETTLED = "forebay_server", "forebay_seen", "forebay_settled"

#: And whether its own changes go into the binary log, once that is known.
_IS_LOGGED = "forebay_is_logged"


class MariadbDatabase:
    """A database of a server; COMMIT returns when the server has it on its disk."""

    errors: tuple[type[Exception], ...] = (pymysql.Error,)

    def __init__(self, url: str, *, idle_s: int = _IDLE_S, lock_s: int = _LOCK_S) -> None:
        self._address = address(url)
        self._turns = Turns(self._address.name, lock_s)
        self._session: dict[str, object] = {
            # A value that does not fit is an error, and not cut.
            "sql_mode": "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION",
            # An hour that comes twice a year would be one hour of leases.
            "time_zone": "+00:00",
            # Each statement sees what was committed before it began, and locks the rows that it finds only.
            "tx_isolation": "READ-COMMITTED",
            "completion_type": "NO_CHAIN",
            "max_statement_time": 0,
            # What a server may forbid for the sake of people who ask for too much. Rows left out would be events.
            "sql_big_selects": 1,
            "sql_select_limit": _ALL_ROWS,
            "sql_safe_updates": 0,
            "idle_transaction_timeout": idle_s,
            "innodb_lock_wait_timeout": lock_s,
            "lock_wait_timeout": lock_s,
        }
        self._engine = create_engine(
            "mariadb+pymysql://",
            creator=self._open,
            poolclass=NullPool,
            # What is closed here is not used again.
            pool_reset_on_return=None,
            hide_parameters=True,
        ).execution_options(isolation_level="AUTOCOMMIT")

    @property
    def name(self) -> str:
        """As in the protocol."""
        return self._address.name

    def exists(self) -> bool:
        """As in the protocol: there is a server, or an error to tell."""
        return True

    def create(self) -> None:
        """As in the protocol. A database is its administrator's to make."""

    def tune(self, connection: Connection) -> None:
        """As in the protocol. To make a table has ended the transaction: what follows is one again."""
        run(connection, "BEGIN")

    def uncounted(self, connection: Connection, places: Sequence[Place]) -> list[Place]:
        """As in the protocol: none, as a column of the place's own row counts."""
        return []

    def count(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol: never asked for one."""

    def connect(self) -> Connection:
        """As in the protocol. Raises `QueueError` where the server would answer a COMMIT before it is on the disk."""
        connection = self._engine.connect()
        try:
            server = look(connection)
            server.check(self.name)
        except BaseException:
            connection.close()
            raise
        connection.info.update({_SERVER: server, _SEEN: {}, _SETTLED: {}})
        return connection

    def _open(self) -> Any:
        return connecting.connect(self._address, self._session)

    def current(self, connection: Connection) -> bool:
        """As in the protocol."""
        return not connection.invalidated and connecting.lives(opened(connection))

    def writing(self, connection: Connection, *, alone: str = "", beside: str = "") -> AbstractContextManager[None]:
        """As in the protocol."""
        return self._turns.writing(connection, alone=alone, beside=beside)

    def remedy(self, error: Exception) -> str:
        """As in the protocol."""
        return remedy(self.name, error)

    def now_ms(self, connection: Connection) -> int:
        """As in the protocol."""
        [(now,)] = run(connection, statements.NOW_MS)
        return int(now)

    def record_bytes(self, connection: Connection) -> int:
        """As in the protocol."""
        server: Server = connection.info[_SERVER]
        return server.record_bytes

    def ends(self, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        """As in the protocol."""
        found = _places(connection, statements.ENDS, places)
        connection.info[_SEEN].update(found)
        return found

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """As in the protocol. Raises `QueueError` as `connect` does: a server may be set otherwise at any time."""
        server = look(connection)
        server.check(self.name)
        refuse_read_only(server.read_only)
        first = _places(connection, statements.LOCK, list(counts))
        for stream, places in _by_stream(first):
            cases = " ".join(f"WHEN {place.partition} THEN {counts[place]}" for place in places)
            run(connection, statements.TAKE.format(cases), (stream, [place.partition for place in places]))
        return first

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """As in the protocol."""
        waiting: list[str] = []
        size, most = 0, min(_INSERT_BYTES, connection.info[_SERVER].statement_bytes)
        for values in map(_values, rows):
            if waiting and size + len(values) > most:
                run(connection, statements.APPEND + ",".join(waiting))
                waiting, size = [], 0
            waiting.append(values)
            size += len(values) + 1
        run(connection, statements.APPEND + ",".join(waiting))

    def kept(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """As in the protocol.

        What every group has finished and retention has deleted by now is taken for not kept: it then comes twice.
        """
        with self.writing(connection):
            # Waits for whoever writes to the partition, be it a session whose client is gone.
            _places(connection, statements.LOCK, [Place(*rows[0][:2])])
            found = set()
            for (stream, partition), same in groupby(sorted(rows), key=lambda row: row[:2]):
                offsets = [row.offset for row in same]
                found.update(_rows(connection, Place(stream, partition), offsets[0], offsets[-1]))
            # What is found may be in memory only, as for any reader.
            run(connection, statements.SETTLE)
            return found.issuperset(rows)

    def announce(self, connection: Connection, places: Iterable[Place]) -> None:
        """As in the protocol: a server has no way to tell."""

    def watch(self, stream: int) -> Watch:
        """As in the protocol."""
        return Polling(stream, lambda connection: dict(connection.info[_SEEN]), self.ends, self.check_writes)

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """As in the protocol."""
        [(last,)] = run(connection, statements.REACH, (*place, offset, max_records, max_bytes))
        rows = [] if last is None else _rows(connection, place, offset, int(last))
        seen = connection.info[_SEEN].get(place, 0)
        self._settle(connection, place, rows[-1].offset + 1 if rows else seen)
        return rows

    def _settle(self, connection: Connection, place: Place, end: int) -> None:
        """Return when everything of the place before this end is on the server's disk.

        InnoDB shows a transaction to others before its log is written. A server that crashes in between takes it back,
        and a producer that was never answered sends anew: to the same offset, which a reader has passed.
        """
        if end <= connection.info[_SETTLED].get(place, 0):
            return
        # What was seen before is settled with it: who is far behind waits once for all of it.
        settled = dict(connection.info[_SEEN])
        settled[place] = max(end, settled.get(place, 0))
        self._wait_for_disk(connection)
        connection.info[_SETTLED].update(settled)

    def _wait_for_disk(self, connection: Connection) -> None:
        """The same for all that it has seen. What goes into the binary log is shown when it is on the disk."""
        if connection.info.get(_IS_LOGGED):
            return
        run(connection, statements.SETTLE)
        if connection.info[_SERVER].binlog and _IS_LOGGED not in connection.info:
            [(place,)] = run(connection, statements.LOGGED)
            connection.info[_IS_LOGGED] = bool(place)

    def check_writes(self, connection: Connection) -> None:
        """As in the protocol."""
        [(read_only,)] = run(connection, statements.READ_ONLY)
        refuse_read_only(read_only)

    def facts(self, connection: Connection, stream: int, start: int, max_facts: int) -> list[PlacedFact]:
        """As in the protocol."""
        found = list(map(PlacedFact._make, run(connection, statements.FACTS, (stream, start, max_facts))))
        if found:
            self._wait_for_disk(connection)
        return found

    def findings(self, connection: Connection, needs: Needs) -> Iterable[Finding]:
        """As in the protocol."""
        return diagnosis.findings(connection, needs)


def _by_stream(places: Iterable[Place]) -> Iterator[tuple[int, list[Place]]]:
    for stream, same in groupby(sorted(places), key=lambda place: place.stream):
        yield stream, list(same)


def _places(connection: Connection, statement: str, places: Iterable[Place]) -> dict[Place, int]:
    found = {}
    for stream, same in _by_stream(places):
        rows = run(connection, statement, (stream, [place.partition for place in same]))
        found.update({Place(stream, partition): offset for stream, partition, offset in rows})
    return found


def _values(row: Row) -> str:
    key = row.key.encode()
    return (
        f"({row.stream:d},{row.partition:d},{row.offset:d},{row.timestamp_ms:d},"
        f"x'{key.hex()}',x'{row.headers.hex()}',x'{row.value.hex()}')"
    )


def _rows(connection: Connection, place: Place, first: int, last: int) -> list[Row]:
    return [
        Row(*place, offset, timestamp_ms, key.decode(), headers, value)
        for offset, timestamp_ms, key, headers, value in run(connection, statements.READ, (*place, first, last))
    ]
