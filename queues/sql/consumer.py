"""The reading side: a member of a group whose leases and records are rows."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from ..groups.consumer import LeasedConsumer
from ..groups.contract import Group
from ..groups.leases import since_boot
from ..threads.connection_thread import Lives
from .claims import Claims
from .connection_thread import ConnectionThread
from .database import Database
from .group import SqlGroup
from .group_clock import GroupClock
from .reader import SqlLog
from .retention import Retention
from .schema import find


@dataclass(frozen=True, slots=True, kw_only=True)
class _SqlStore:
    """Where one consumer's group and stream are kept."""

    database: Database
    stream: str
    group_name: str
    session_s: float
    retention: Retention
    now_ms: Callable[[Connection], int]
    clock: Callable[[], float]

    def thread(self, name: str) -> ConnectionThread:
        return ConnectionThread(self.database, name)

    def group(self, connection: Connection, me: str) -> SqlGroup:
        session_ms = round(self.session_s * 1000)
        claims = Claims(group=self.group_name, stream=find(connection, self.stream), me=me, session_ms=session_ms)
        clock = GroupClock(self.now_ms, session_ms, self.clock)
        return SqlGroup(database=self.database, claims=claims, retention=self.retention, clock=clock)

    def log(self, group: Group[Connection]) -> SqlLog:
        assert isinstance(group, SqlGroup), "it is one of ours"  # noqa: S101 - for mypy
        return SqlLog(self.database, group.claims.stream)


class SqlConsumer(LeasedConsumer[Connection]):
    """A member of the group."""

    def __init__(
        self,
        database: Database,
        stream: str,
        group: str,
        *,
        session_s: float,
        retention: Retention,
        lives: Lives | None = None,
        clock: Callable[[], float] = since_boot,
        now_ms: Callable[[Connection], int] | None = None,
    ) -> None:
        store = _SqlStore(
            database=database,
            stream=stream,
            group_name=group,
            session_s=session_s,
            retention=retention,
            now_ms=now_ms or database.now_ms,
            clock=clock,
        )
        super().__init__(store, lives=lives, clock=clock)
