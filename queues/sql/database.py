"""What differs between the database systems: each has one module that keeps this protocol (sqlite.py)."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sqlalchemy import Connection


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


class Database(Protocol):
    """One database. Its methods block, and each connection is used by one thread."""

    @property
    def name(self) -> str:
        """What a person calls this database; without credentials."""

    def exists(self) -> bool:
        """Whether there is something to connect to."""

    def create(self) -> None:
        """Make what a connection needs (a file), if it is not there yet."""

    def connect(self) -> Connection:
        """A new connection in autocommit mode: each statement outside of `writing` sees what is committed by then."""

    def current(self, connection: Connection) -> bool:
        """Whether the connection leads to what has our name now, and not to a file that was deleted or replaced."""

    def writing(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction that is alone in what it writes, durable when the block was left, undone when it failed.

        Raises `QueueUnavailable` if the connection was not current any more at the end: nobody finds what it wrote.
        """

    def remedy(self, error: Exception) -> str:
        """The database's own words for the error, and what to do about it. Never a parameter of a statement."""

    def changes(self, connection: Connection) -> object:
        """A mark that is another one after somebody else's commit. Cheap enough to ask for every few milliseconds."""

    def ends(self, connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
        """The next offset of each place that exists."""

    def take_offsets(self, connection: Connection, counts: Mapping[Place, int]) -> dict[Place, int]:
        """Reserve so many offsets in each place, until the end of the transaction alone; returns each one's first."""

    def append(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert records whose offsets were taken."""

    def read(self, connection: Connection, place: Place, offset: int, max_records: int, max_bytes: int) -> list[Row]:
        """Records at or after the offset, in order; one at least if there is one, else within both limits."""
