"""The facts about portals in Redis: the last of each key, and in which order they were written."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from forebay.queues.errors import QueueUnavailable
from forebay.queues.portals.contract import Chapter, Fact, PlacedFact
from forebay.queues.portals.one_store import OneStore

from ..groups.bell import Bell
from ..groups.reader import Wait
from .connection import RedisConnection, RedisStore
from .reading import News
from .script_parts import CHECKED, FREES, NOW, WRITES
from .streams import ANOTHER, find, made_anew, make, missing

#: Facts of one chapter; with the usual 200 bytes each, half a megabyte.
_CHAPTER_FACTS = 2500

#: What was taken back is told for so long to who was away meanwhile, and how many are forgotten at a start.
_KEEP_TAKEN_BACK_MS = 7 * 24 * 3_600_000
_FORGOTTEN = 10_000

#: How a value that there is begins, and what stands for none.
_THERE, _TAKEN_BACK = b"+", b"-"

#: about ends facts order gone → id channel, then key and value of each; a value begins with `+`, and is `-` for none.
#: The place of the last one.
_PUT = (
    WRITES
    + CHECKED
    + NOW
    + """
redis.call('PUBLISH', ARGV[2], '0')
local last = redis.call('HINCRBY', KEYS[2], '0', (#ARGV - 2) / 2)
local place = last - (#ARGV - 2) / 2
for at = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
    redis.call('ZADD', KEYS[4], place, ARGV[at])
    redis.call('ZREM', KEYS[5], ARGV[at])
    if ARGV[at + 1] == '-' then redis.call('ZADD', KEYS[5], now, ARGV[at]) end
    place = place + 1
end
return {'done', last - 1}
"""
)

#: about facts order → id start most. Place, key and value of each fact.
#: It writes nothing, and is let begin only where one may write: who follows a server that others have left, since it
#: takes no writes any more, would wait there for ever.
_FACTS = (
    FREES
    + CHECKED
    + """
local placed = redis.call('ZRANGEBYSCORE', KEYS[3], ARGV[2], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[3])
local found = {}
for at = 1, #placed, 2 do
    found[#found + 1] = {placed[at + 1], placed[at], redis.call('HGET', KEYS[2], placed[at])}
end
return {'done', found}
"""
)

#: facts order gone → keep_ms most. Facts that were taken back so long ago are forgotten.
_FORGET = (
    FREES
    + NOW
    + """
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - ARGV[1], 'LIMIT', 0, ARGV[2])) do
    redis.call('HDEL', KEYS[1], key)
    redis.call('ZREM', KEYS[2], key)
    redis.call('ZREM', KEYS[3], key)
end
"""
)


class RedisPortalStore:
    """Writes in one thread, and reads in another, which hears of news."""

    def __init__(self, store: RedisStore, stream: str) -> None:
        self._store, self._stream, self._one_store = store, stream, OneStore(store.name)
        self._writing = store.thread("forebay-portals")
        self._reading = store.thread("forebay-portals-read")
        self._bell = Bell()
        self._wait = Wait(until=0.0)
        self._closed = False

    async def ensure(self, *, only_plan: bool = False) -> list[str]:
        """As in the contract."""
        if only_plan:
            return await self._writing.run(lambda connection: missing(connection, [self._stream], 1))
        return await self._writing.run(self._made)

    def _made(self, connection: RedisConnection) -> list[str]:
        made = make(connection, [self._stream], 1)
        keys = find(connection, self._stream).keys
        connection.run(_FORGET, [keys.facts, keys.order, keys.gone], _KEEP_TAKEN_BACK_MS, _FORGOTTEN)
        return made

    async def put(self, facts: Sequence[Fact]) -> int:
        """As in the contract; all of them or none."""
        return await self._writing.run(partial(self._put, facts=facts))

    def _put(self, connection: RedisConnection, facts: Sequence[Fact]) -> int:
        connection.check()
        keys = find(connection, self._stream).keys
        values: list[str | bytes] = []
        for fact in facts:
            values += (fact.key, _TAKEN_BACK if fact.value is None else _THERE + fact.value)
        names = [keys.about, keys.ends, keys.facts, keys.order, keys.gone]
        place = int(self._run(connection, _PUT, names, keys.news, *values))
        if not connection.is_copied(self._store.address.replicas):
            raise QueueUnavailable(f"{self._store.name}: fewer replicas than queue_url says have what was written")
        return place

    async def end(self) -> int:
        """As in the contract."""
        return await self._writing.run(self._end)

    def _end(self, connection: RedisConnection) -> int:
        return int(connection.ask("HGET", find(connection, self._stream).keys.ends, 0) or 0)

    async def read(self, start: int, timeout_s: float) -> Chapter:
        """As in the contract."""
        self._wait = wait = Wait(until=time.monotonic() + timeout_s, over=self._closed)
        try:
            facts = await self._reading.run(partial(self._read, start=start, wait=wait))
        finally:
            wait.over = True
            self._bell.ring()
        following = facts[-1].offset + 1 if facts else start
        return Chapter(facts, following, len(facts) < _CHAPTER_FACTS)

    def _read(self, connection: RedisConnection, start: int, wait: Wait) -> list[PlacedFact]:
        news = News(find(connection, self._stream))
        while True:
            # In this order: what changes after these lines is seen by the next look.
            self._bell.hush()
            news.begin(connection)
            facts = self._facts(connection, start)
            left = wait.until - time.monotonic()
            if facts or wait.over or left <= 0:
                return facts
            news.wait([0], self._bell, left)

    def _facts(self, connection: RedisConnection, start: int) -> list[PlacedFact]:
        self._one_store.check(connection, start)
        keys = find(connection, self._stream).keys
        found = self._run(connection, _FACTS, [keys.about, keys.facts, keys.order], start, _CHAPTER_FACTS)
        if start and not found:
            self._one_store.check_end(start, self._end(connection))
        return [PlacedFact(int(place), key.decode(), _value(value)) for place, key, value in found]

    def _run(self, connection: RedisConnection, script: str, keys: Sequence[str], *arguments: str | bytes | int) -> Any:
        stream = find(connection, self._stream)
        answer = connection.run(script, keys, stream.id, *arguments)
        if answer[0] == ANOTHER:
            raise made_anew(connection, stream)
        return answer[1]

    async def close(self) -> None:
        """As in the contract."""
        self._closed = self._wait.over = True
        self._bell.ring()
        # At once: what hangs on one side, and is given up, keeps the other from nothing.
        await asyncio.gather(self._reading.close(), self._writing.close())
        self._bell.close()


def _value(kept: bytes) -> bytes | None:
    return kept.removeprefix(_THERE) if kept.startswith(_THERE) else None
