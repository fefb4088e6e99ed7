"""Which tables and streams there are, and making them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, select

from forebay.queues.errors import UnknownStream
from forebay.queues.making import new_streams, told
from forebay.queues.newer import refuse_newer

from .database import Database, Place
from .tables import VERSION, claim, meta, metadata, partition, stream

#: What stands in `forebay_meta` from the start.
_META = {"version": VERSION, "checks": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream as the database knows it. It never changes."""

    id: int
    name: str
    partitions: int

    def places(self) -> list[Place]:
        """All of its partitions."""
        return [Place(self.id, number) for number in range(self.partitions)]


def find(connection: Connection, name: str) -> Stream:
    """The stream of this name. Raises `UnknownStream`."""
    row = connection.execute(select(stream.c.id, stream.c.partitions).where(stream.c.name == name)).one_or_none()
    if row is None:
        raise UnknownStream(f"the queue has no stream {name!r}; `forebay topics ensure` makes it")
    return Stream(id=row.id, name=name, partitions=row.partitions)


def check_version(connection: Connection, database: str) -> None:
    """Refuse tables that a newer Forebay made."""
    if not inspect(connection).has_table(meta.name):
        return
    version = connection.execute(select(meta.c.value).where(meta.c.name == "version")).scalar()
    if version is not None:
        refuse_newer(database, version, VERSION)


def missing(database: Database, connection: Connection, names: Iterable[str], partitions: int) -> list[str]:
    """What `make` would make."""
    names = list(names)
    tables = inspect(connection).get_table_names()
    existing = _existing(connection) if stream.name in tables else []
    uncounted = [
        f"counters of stream {found.name}"
        for found in existing
        if found.name in names and database.uncounted(connection, found.places())
    ]
    return [*_missing_tables(tables), *_missing_streams(existing, names, partitions), *uncounted]


def missing_all(names: Iterable[str], partitions: int) -> list[str]:
    """What `make` would make in an empty database."""
    return [*_missing_tables(()), *_missing_streams((), names, partitions)]


def _missing_tables(there: Collection[str]) -> list[str]:
    return [f"table {table}" for table in metadata.tables if table not in there]


def _missing_streams(existing: Iterable[Stream], names: Iterable[str], partitions: int) -> list[str]:
    """The streams that are not there; one that has another number of partitions is an error."""
    there = {found.name: found.partitions for found in existing}
    return [told(name, partitions) for name in new_streams(names, partitions, there.get)]


def make(database: Database, connection: Connection, names: Iterable[str], partitions: int) -> list[str]:
    """Make what is missing, inside the caller's transaction."""
    names = list(names)
    made = missing(database, connection, names, partitions)
    if _missing_tables(inspect(connection).get_table_names()):
        metadata.create_all(connection)
        database.tune(connection)
    # Where making a table commits by itself, somebody may have died before this, and a turn's row may stand there.
    written = set(connection.execute(select(meta.c.name)).scalars())
    if rows := [{"name": name, "value": value} for name, value in _META.items() if name not in written]:
        connection.execute(meta.insert(), rows)
    there = {found.name for found in _existing(connection)}
    for name in dict.fromkeys(names):
        if name not in there:
            _make_stream(connection, name, partitions)
        database.count(connection, database.uncounted(connection, find(connection, name).places()))
    return made


def _make_stream(connection: Connection, name: str, partitions: int) -> None:
    made = Stream(id=_next_id(connection), name=name, partitions=partitions)
    connection.execute(stream.insert(), {"id": made.id, "name": name, "partitions": partitions})
    empty = {"next_offset": 0, "first_offset": 0}
    connection.execute(partition.insert(), [place._asdict() | empty for place in made.places()])


def _next_id(connection: Connection) -> int:
    # Not what the server counts: where the tables were filled from another server, that may have been left behind.
    used = (stream.c.id, partition.c.stream, claim.c.stream)
    return 1 + max(int(connection.execute(select(func.coalesce(func.max(one), 0))).scalar_one()) for one in used)


def _existing(connection: Connection) -> list[Stream]:
    rows = connection.execute(select(stream.c.id, stream.c.name, stream.c.partitions))
    return [Stream(id=row.id, name=row.name, partitions=row.partitions) for row in rows]
