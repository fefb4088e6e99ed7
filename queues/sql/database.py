"""What differs between the database systems: each has a folder that keeps these protocols."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sqlalchemy import Connection

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PlacedFact

from ..groups.bell import Bell


class Place(NamedTuple):
    """A partition: the number of its stream in the database, and its own in the stream."""

    stream: int
    partition: int


class Row(NamedTuple):
    """A record as it stands in its table."""

    stream: int
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    headers: bytes
    value: bytes


class Undecided(QueueUnavailable):
    """The database was lost while it committed: what was written is either kept or not. `Database.kept` knows."""


#: The turn of who makes tables. In MariaDB that commits by itself, so that no transaction can hold this one.
TABLES = "the tables"


class Watch(Protocol):
    """Waits for others' commits, for one reader of a stream and in its thread."""

    def begin(self, connection: Connection) -> None:
        """What is committed from now on is news. Cheap: it is called before each look."""

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """Return when there is news, which may concern others, when the bell was rung, or when the time is over."""


class Database(Protocol):
    """One database. Its methods block, and each connection is used by one thread."""

    #: What its client raises beside SQLAlchemy's errors.
    errors: tuple[type[Exception], ...]

    @property
    def name(self) -> str:
        """What a person calls this database; without credentials."""

    def exists(self) -> bool:
        """Whether there is something to connect to."""

    def create(self) -> None:
        """Make what a connection needs (a file), if it is not there yet and is ours to make."""

    def tune(self, connection: Connection) -> None:
        """Set what our tables need; they were made in this transaction."""

    def uncounted(self, connection: Connection, places: Sequence[Place]) -> list[Place]:
        """Those whose offsets nothing counts: just made, or come from another database without it."""

    def count(self, connection: Connection, places: Iterable[Place]) -> None:
        """Make what counts the offsets of these places, which are uncounted."""

    def connect(self) -> Connection:
        """A new connection in autocommit mode: each statement outside of `writing` sees what is committed by then."""

    def current(self, connection: Connection) -> bool:
        """Whether the connection still leads to what has our name now."""

    def writing(self, connection: Connection, *, alone: str = "", beside: str = "") -> AbstractContextManager[None]:
        """A transaction, durable when the block was left, undone when it failed.

        Who is `alone` under a name shares it with nobody; those who are `beside` each other share it among themselves.
        Raises `Undecided` when nobody knows which of both it is; `QueueUnavailable` when it was undone, or when the
        connection was not current any more at the end: nobody finds what it wrote. `Undone` is one that `again` helps.
        """

    def remedy(self, error: Exception) -> str:
        """The database's own words for the error, and what to do about it. Never a parameter of a statement."""

    def now_ms(self, connection: Connection) -> int:
        """Milliseconds since the epoch by the one clock that all members of a group go by."""

    def record_bytes(self, connection: Connection) -> int:
        """How large a record, its headers and its value, may be. `MAX_RECORD_BYTES` at most."""

    def ends(self, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        """The next offset of each place that exists."""

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """Reserve so many offsets in each place that exists; returns each one's first.

        Until the end of the transaction nobody else gets any: whoever sees an offset sees all that are before it.
        """

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert records whose offsets were taken."""

    def kept(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """Whether these rows, which one transaction wrote and was `Undecided`, are there. Waits until it is over."""

    def announce(self, connection: Connection, places: Iterable[Place]) -> None:
        """Wake those who watch these places. It may get lost: they look by themselves too, only later."""

    def watch(self, stream: int) -> Watch:
        """A new watch over a stream."""

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """Records at or after the offset, in order; one at least if there is one, else within both limits.

        A crash of the server takes none of them away: another would get its offset, and whoever has passed it by then
        would never see that one.
        """

    def check_writes(self, connection: Connection) -> None:
        """Raise an error of the client's where the server takes no writes any more.

        Others have gone on to another by then, and who only reads would wait here for ever.
        """

    def facts(self, connection: Connection, stream: int, start: int, max_facts: int) -> list[PlacedFact]:
        """Facts about portals at or after the place, in order. A crash takes none of them away, as above."""

    def findings(self, connection: Connection, needs: Needs) -> Iterable[Finding]:
        """What `doctor` should say about this system, beside whether the streams are there."""
