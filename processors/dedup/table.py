"""The table of the marks, and what is asked of it: a file of this host, or a server that all hosts share."""

from collections.abc import Sequence

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from forebay.queues.errors import QueueError

from .keys import Key

_tables = MetaData()

mark = Table(
    "forebay_handled",
    _tables,
    # Of all that makes two events the same, the portal too: many are looked up by one column. Of two, PostgreSQL plans
    # a look-up of 500 for a quarter of a second.
    Column("key", LargeBinary(16), primary_key=True),
    Column("portal", Text, nullable=False),
    # Whose mark it is: how far the others are with the portal says nothing about when it may go.
    Column("reader", LargeBinary(16), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    # The mark may go when its reader is at events of the portal that were received later than this.
    Column("until_ms", BigInteger, nullable=False),
    Index("forebay_handled_until", "portal", "reader", "until_ms"),
)

#: Keys of one statement at most: far below SQLite's 32,766 variables.
AT_ONCE = 500

#: Nobody handles anything of a portal that went away, which would clear away its marks.
_LONGEST_MS = 90 * 86_400_000


def make(connection: Connection, database: str) -> None:
    """Make the table, if it is not there yet. Raises `QueueError` when it is another one."""
    _tables.create_all(connection)
    # Not by the catalogue: the table is where the search path of the connection finds it.
    there = connection.execute(select(literal_column("*")).select_from(mark).limit(0)).keys()
    if missing := [column.name for column in mark.columns if column.name not in there]:
        raise QueueError(
            f"the table {mark.name} of {database} has no column {', '.join(missing)}: another version of Forebay made "
            "it. Drop it, and the worker makes it anew, knowing nothing of what was handled; or make it as "
            "docs/idempotence.md says"
        )


def write(connection: Connection, keys: Sequence[Key], now_ms: int) -> None:
    """Mark these, and clear away what is over for whoever handled them."""
    rows = {
        key.digest: {
            "key": key.digest,
            "portal": key.portal,
            "reader": key.reader,
            "received_ms": key.received_ms,
            "until_ms": max(now_ms, key.received_ms) + key.window_ms,
        }
        # Of two with the same digest that of the newer event is kept.
        for key in sorted(keys, key=lambda key: key.received_ms)
    }
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(mark)
    kept = {"received_ms": insert.excluded.received_ms, "until_ms": insert.excluded.until_ms}
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["key"], set_=kept, where=insert.excluded.received_ms >= mark.c.received_ms
        ),
        list(rows.values()),
    )
    _clear(connection, keys)


def _clear(connection: Connection, keys: Sequence[Key]) -> None:
    newest: dict[tuple[str, bytes], int] = {}
    for key in keys:
        place = key.portal, key.reader
        newest[place] = max(key.received_ms, newest.get(place, key.received_ms))
    over = delete(mark).where(
        mark.c.portal == bindparam("which"), mark.c.reader == bindparam("whose"), mark.c.until_ms < bindparam("at")
    )
    connection.execute(
        over, [{"which": portal, "whose": reader, "at": at_ms} for (portal, reader), at_ms in newest.items()]
    )


def clear_gone(connection: Connection, now_ms: int) -> None:
    """Clear away the marks of portals that went away."""
    connection.execute(delete(mark).where(mark.c.until_ms < now_ms - _LONGEST_MS))


def received(connection: Connection, keys: Sequence[Key]) -> dict[bytes, int]:
    """Digest of those that are marked → when the event was received."""
    wanted = mark.c.key.in_([key.digest for key in keys])
    rows = connection.execute(select(mark.c.key, mark.c.received_ms).where(wanted))
    return {bytes(digest): received_ms for digest, received_ms in rows}
