"""The reading side: a member of a group whose leases and records are in Redis."""

from collections.abc import Callable
from dataclasses import dataclass

from ..groups.consumer import LeasedConsumer
from ..groups.contract import Group
from ..groups.leaps import Leaps
from ..groups.leases import since_boot
from ..threads.connection_thread import ConnectionThread, Lives
from .connection import RedisConnection, RedisStore
from .group import RedisGroup
from .reading import RedisLog
from .retention import Retention
from .streams import find


@dataclass(frozen=True, slots=True, kw_only=True)
class _GroupStore:
    """Where one consumer's group and stream are kept."""

    store: RedisStore
    stream: str
    group_name: str
    session_s: float
    retention: Retention
    clock: Callable[[], float]

    def thread(self, name: str) -> ConnectionThread[RedisConnection]:
        return self.store.thread(name)

    def group(self, connection: RedisConnection, me: str) -> RedisGroup:
        return RedisGroup(
            name=self.group_name,
            of=find(connection, self.stream),
            me=me,
            session_s=self.session_s,
            retention=self.retention,
            leaps=Leaps(round(self.session_s * 1000), self.clock),
        )

    def log(self, group: Group[RedisConnection]) -> RedisLog:
        assert isinstance(group, RedisGroup), "it is one of ours"  # noqa: S101 - for mypy
        return RedisLog(group.of, group.name, group.me)


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
        kept = _GroupStore(
            store=store, stream=stream, group_name=group, session_s=session_s, retention=retention, clock=clock
        )
        super().__init__(kept, lives=lives, clock=clock)
