"""Stores how far the group is: only what changed, and one commit after the other."""

import asyncio
from collections.abc import Iterable
from functools import partial

from forebay.queues.contract import Consumer
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.schemas.logger import get_logger

from .health import Health
from .partitions import Partition

_log = get_logger(__name__)


class Commits:
    """Commits partitions. What the queue can't take now is committed with the next call."""

    def __init__(self, consumer: Consumer, note_bytes: int, health: Health) -> None:
        self._consumer, self._note_bytes, self._health = consumer, note_bytes, health
        self._one_at_a_time = asyncio.Lock()

    async def store(self, partitions: Iterable[Partition]) -> list[Partition]:
        """Commit those that have news. Gives the ones that turned out to be another member's."""
        # An earlier commit that arrived after a later one would take the group back.
        async with self._one_at_a_time:
            return await self._store([one for one in partitions if one.has_news and not one.is_gone])

    async def _store(self, changed: list[Partition]) -> list[Partition]:
        if not changed:
            return []
        commits = {one.number: one.commit(self._note_bytes) for one in changed}
        for one in changed:
            one.has_news = False
        try:
            await self._consumer.commit(commits)
        except Fenced as fenced:
            others = [one for one in changed if one.number in fenced.partitions]
            if len(others) < len(changed):
                self._health.ok("commits")
            return others
        except QueueUnavailable as error:
            _has_news_again(changed)
            self._health.degraded("commits", f"the queue takes no commits: {error}", partial(_any_waits, changed))
            _log.warning("commit failed; it is tried again", error=str(error))
            return []
        except BaseException:
            _has_news_again(changed)
            raise
        self._health.ok("commits")
        return []


def _has_news_again(partitions: Iterable[Partition]) -> None:
    for one in partitions:
        one.has_news = True


def _any_waits(partitions: Iterable[Partition]) -> bool:
    """Whether one is still ours: those that went have nothing more to commit here."""
    return any(not one.is_gone for one in partitions)
