"""The reading side: a member of a group whose leases and records are rows."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from ..groups.consumer import LeasedConsumer
from ..groups.leases import since_boot
from ..groups.retention import Retention
from ..threads.connection_thread import Lives
from .claims import Claims
from .connection_thread import connection_thread
from .database import Database
from .group import SqlGroup
from .group_clock import GroupClock
from .reader import SqlLog
from .schema import find


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
        session_ms = round(session_s * 1000)

        def member(connection: Connection, me: str) -> tuple[SqlGroup, SqlLog]:
            found = find(connection, stream)
            claims = Claims(group=group, stream=found, me=me, session_ms=session_ms)
            group_clock = GroupClock(now_ms or database.now_ms, session_ms, clock)
            of_group = SqlGroup(database=database, claims=claims, retention=retention, clock=group_clock)
            return of_group, SqlLog(database, found)

        super().__init__(partial(connection_thread, database), member, lives=lives, clock=clock)
