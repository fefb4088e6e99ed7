"""For handlers that write to a database of their own: an event's work and the note that it is done are one commit.

>>> from sqlalchemy import create_engine
>>> engine, ledger = create_engine("sqlite://"), Ledger("shop")
>>> ledger.create(engine)
>>> with engine.begin() as connection:
...     ledger.claim(connection, "the event's id")
True
>>> with engine.begin() as connection:
...     ledger.claim(connection, "the event's id")
False
>>> engine.dispose()
"""

import time
from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Connection, Engine, MetaData, String, Table, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from forebay.schemas.errors import ForebayError

#: Fits into an index of every database; an event's id has 36.
_KEY_CHARS = 200

_tables = MetaData()

_ledger = Table(
    "forebay_ledger",
    _tables,
    Column("name", String(_KEY_CHARS), primary_key=True),
    Column("key", String(_KEY_CHARS), primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
)

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}


class CannotClaim(ForebayError):
    """The database is none that a claim is known to work on, or the key is too long."""


class Ledger:
    """What is done, in the table `forebay_ledger` of your database. Handlers of different work have different names.

    Works on SQLite and PostgreSQL, with SQLAlchemy's connections; with a session take `session.connection()`, with an
    asynchronous one `await connection.run_sync(ledger.claim, event.id)`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def create(self, engine: Engine) -> None:
        """Make the table, if it is not there yet. Any number of processes may do so at once."""
        create_tables(engine, _tables)

    def claim(self, connection: Connection, key: str) -> bool:
        """Whether the key is claimed now, for the first time; False when it was. Do your work after True only.

        It counts when your transaction is committed, with all else in it, and was never made when that is undone. Who
        claims what another transaction has just claimed waits until that has ended. Raises `CannotClaim`.
        """
        return bool(self.claim_all(connection, [key]))

    def claim_all(self, connection: Connection, keys: Sequence[str]) -> set[str]:
        """The same of many at once, as of a batch; gives those that are claimed now."""
        dialect = _DIALECTS.get(connection.dialect.name)
        longest = max(map(len, keys), default=0)
        if dialect is None or longest > _KEY_CHARS:
            raise CannotClaim(f"a key of {longest} characters on {connection.dialect.name}; see docs/idempotence.md")
        # In one order for all: two who wait for each other's keys would wait for ever.
        rows = [{"name": self._name, "key": key, "at": int(time.time())} for key in sorted(set(keys))]
        # What is returned was inserted: not every client counts the rows of an INSERT.
        claim = dialect.insert(_ledger).on_conflict_do_nothing().returning(_ledger.c.key)
        return set(connection.scalars(claim, rows)) if rows else set()

    def forget(self, connection: Connection, older_than_s: float) -> int:
        """Delete what was claimed longer ago than this; gives how many. What comes again after that is new."""
        old = (_ledger.c.name == self._name) & (_ledger.c.at < time.time() - older_than_s)
        return connection.execute(delete(_ledger).where(old)).rowcount


def create_tables(engine: Engine, tables: MetaData) -> None:
    """Make those that are not there yet, whoever else does so at this moment."""
    try:
        tables.create_all(engine)
    except DBAPIError:
        # Between our look and our CREATE another one came first. Where that was not it, the same error comes again.
        tables.create_all(engine)
