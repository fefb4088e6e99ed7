"""A member of a group whose leases are rows: each step is a transaction."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from ..groups.confirmed import SET_BACK, Confirmed, set_back
from ..groups.contract import Beat
from ..groups.retention import Retention
from ..groups.shares import GroupView, to_claim
from .claims import Claims
from .database import Database
from .group_clock import GroupClock
from .retention import sweep
from .schema import find

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlGroup:
    """The member's statements, in transactions of its turn in the group."""

    database: Database
    claims: Claims
    retention: Retention
    clock: GroupClock
    confirmed: Confirmed = field(default_factory=Confirmed)

    @property
    def name(self) -> str:
        """As in the protocol, and so is all that follows."""
        return self.claims.group

    @property
    def stream(self) -> str:
        """By its name."""
        return self.claims.stream.name

    @property
    def session_s(self) -> float:
        """In seconds."""
        return self.claims.session_ms / 1000

    @property
    def sweep_every_s(self) -> float | None:
        """By the retention."""
        return self.retention.sweep_every_s(self.stream)

    def check(self, connection: Connection) -> None:
        """By the stream's number."""
        known = self.claims.stream
        if find(connection, known.name) != known:
            name = self.database.name
            raise QueueError(f"stream {known.name} was made anew in {name}, and is another one: restart this process")

    def view(self, connection: Connection, held: Collection[int]) -> GroupView:
        """Reads."""
        return self.claims.view(connection, held, self.clock.look(connection))

    def beat(self, connection: Connection, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        """In the member's turn: what the view shows as free is free until the end.

        What was set back is lost, and taken again: it begins where the group was then.
        """
        leasts = self.confirmed.leasts()
        with self.database.writing(connection, alone=self.claims.name):
            at = self.clock.look(connection)
            ours = self.claims.renew(connection, held, at)
            lost = set_back(ours, leasts)
            still = ours.keys() - lost
            view = self.claims.view(connection, still, at)
            claimed = [] if is_leaving else self.claims.claim(connection, to_claim(view), self.confirmed, at)
        for one in claimed:
            self.confirmed.add(one.partition, one.epoch, one.committed.offset)
        if lost:
            log.error("set_back", queue=self.database.name, stream=self.stream, partitions=sorted(lost), error=SET_BACK)
        return Beat(still=still, claimed=claimed)

    def commit(self, connection: Connection, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        """Beside other members' commits."""
        with self.database.writing(connection, beside=self.claims.name):
            stored = self.claims.commit(connection, epochs, commits, self.confirmed)
        for number in stored:
            self.confirmed.add(number, epochs[number], commits[number].offset)
        return stored

    def release(self, connection: Connection, epochs: Mapping[int, int]) -> None:
        """In the member's turn."""
        with self.database.writing(connection, alone=self.claims.name):
            self.claims.release(connection, epochs)

    def leave(self, connection: Connection) -> None:
        """In the member's turn."""
        with self.database.writing(connection, alone=self.claims.name):
            self.claims.leave(connection)

    def sweep(self, connection: Connection, partition: int) -> bool:
        """In a transaction of its own."""
        with self.database.writing(connection):
            until_ms = self.clock.now_ms(connection) - self.retention.keep_ms
            finished = self.claims.finished(connection, partition)
            return sweep(connection, self.claims.stream, partition, finished, until_ms)
