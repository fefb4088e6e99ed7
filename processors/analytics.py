"""Counts events for whoever wants numbers: how many of each type a portal had in each minute, hour or day.

>>> from sqlalchemy import create_engine
>>> engine = create_engine("sqlite://")
>>> counts = Counts("hourly", engine, window_s=3600)
>>> counts.create()
>>> engine.dispose()
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, Connection, Engine, MetaData, String, Table
from sqlalchemy.dialects import postgresql, sqlite

from forebay.schemas import names
from forebay.schemas.event import PortalEvent

from .idempotence import Ledger, create_tables

#: Longer than an event waits in a spool or a parked portal, and than most replays go back.
_DAYS_S = 30 * 86_400

#: Between two looks for ids that are old enough to be forgotten.
_FORGETS_EVERY_S = 3600

#: What a portal says of itself may be longer than a column of every database: a domain has 255 at most.
_TEXT_CHARS = 255

_tables = MetaData()

_counts = Table(
    "forebay_counts",
    _tables,
    Column("name", String(_TEXT_CHARS), primary_key=True),
    # Seconds since 1970, UTC: the beginning of the window.
    Column("starts_at", BigInteger, primary_key=True),
    Column("portal", String(_TEXT_CHARS), primary_key=True),
    Column("type", String(_TEXT_CHARS), primary_key=True),
    Column("verified", Boolean, primary_key=True),
    Column("events", BigInteger, nullable=False),
)

_Row = tuple[int, str, str, bool]


class Counts:
    """A handler for `Handlers.on`, with `batch` or without: counts events in the table `forebay_counts`, each once.

    A row is a window of `window_s` seconds (`starts_at` is in seconds since 1970), a portal, a type
    (`event.ONCRMDEALADD`, `forebay.ONFOREBAYGAP`) and whether the portal was verified. An event counts where it
    happened, or where it was received, whichever is earlier. Its id is claimed in the same transaction, in the `Ledger`
    of this name, and forgotten after `known_s`; what comes again later counts again. Works on SQLite and PostgreSQL, in
    any number of workers. Counts of different windows or handlers have different names.
    """

    def __init__(self, name: str, engine: Engine, *, window_s: int = 60, known_s: float = _DAYS_S) -> None:
        if window_s < 1:
            raise ValueError("window_s: a window has one second or more")
        self._name, self._engine, self._window_s, self._known_s = name, engine, window_s, known_s
        self._ledger = Ledger(f"counts:{name}")
        self._forgets_at = 0.0
        #: By which logs and metrics tell it from other handlers.
        self.__qualname__ = f"Counts({name})"

    def create(self) -> None:
        """Make the tables, if they are not there yet. Any number of processes may do so at once."""
        self._ledger.create(self._engine)
        create_tables(self._engine, _tables)

    def __call__(self, events: PortalEvent | Sequence[PortalEvent]) -> None:
        """Count them all, or none. Raises what SQLAlchemy raises."""
        given = [events] if isinstance(events, PortalEvent) else events
        with self._transaction() as connection:
            new = self._ledger.claim_all(connection, [event.id for event in given])
            # An id may stand in a batch twice.
            found = {event.id: self._row(event) for event in given if event.id in new}
            if found:
                self._add(connection, Counter(found.values()))
        self._forget()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        # Whatever level the engine has: with AUTOCOMMIT the claim would stand without the count, and where transactions
        # are serializable, of two that count in one row one would fail.
        level = "SERIALIZABLE" if self._engine.dialect.name == "sqlite" else "READ COMMITTED"
        with self._engine.connect() as connection, connection.execution_options(isolation_level=level).begin():
            yield connection

    def _row(self, event: PortalEvent) -> _Row:
        happened = min(event.occurred_at or event.received_at, event.received_at)
        return self._window(happened), _text(event.portal), _text(_type(event)), event.subscription.verified

    def _window(self, at: datetime) -> int:
        return int(at.timestamp() // self._window_s) * self._window_s

    def _add(self, connection: Connection, found: "Counter[_Row]") -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(_counts)
        more = {"events": _counts.c.events + insert.excluded.events}
        columns = ("starts_at", "portal", "type", "verified")
        # In one order for all: two who wait for each other's rows would wait for ever.
        rows = [dict(zip(columns, row, strict=True)) | {"events": n} for row, n in sorted(found.items())]
        connection.execute(
            insert.on_conflict_do_update(index_elements=list(_counts.primary_key), set_=more),
            [{"name": self._name, **row} for row in rows],
        )

    def _forget(self) -> None:
        # For itself: a counted row is locked until its transaction ends, and other workers wait for it.
        if (now := time.monotonic()) >= self._forgets_at:
            self._forgets_at = now + _FORGETS_EVERY_S
            with self._transaction() as connection:
                self._ledger.forget(connection, self._known_s)


def _type(event: PortalEvent) -> str:
    kind = names.BY_FOREBAY if event.source == names.BY_FOREBAY else event.kind
    return f"{kind}.{event.name}" if event.name else kind


def _text(said: str) -> str:
    # A portal may send any character, and PostgreSQL takes all but this one.
    return said.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_TEXT_CHARS]
