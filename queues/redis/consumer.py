"""The reading side: a member of a group whose leases and records are in Redis."""

from collections.abc import Callable

from ..groups.consumer import LeasedConsumer
from ..groups.leaps import Leaps
from ..groups.leases import since_boot
from ..groups.retention import Retention
from ..threads.connection_thread import Lives
from .connection import RedisConnection, RedisStore
from .group import RedisGroup
from .reading import RedisLog
from .streams import find


class RedisConsumer(LeasedConsumer[RedisConnection]):
    """A member of the group."""

    def __init__(
        self,
        store: RedisStore,
        stream: str,
        group: str,
        *,
        session_s: float,
        retention: Retention,
        lives: Lives | None = None,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        def member(connection: RedisConnection, me: str) -> tuple[RedisGroup, RedisLog]:
            found, leaps = find(connection, stream), Leaps(round(session_s * 1000), clock)
            of_group = RedisGroup(name=group, of=found, me=me, session_s=session_s, retention=retention, leaps=leaps)
            return of_group, RedisLog(found, group, me)

        super().__init__(store.thread, member, lives=lives, clock=clock)
