"""Which streams there are, of how many partitions, and which groups: a stream of its own says it.

Whoever makes something writes it there last. Of two who write at the same time the first holds, which all read alike.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import orjson

from forebay.queues.errors import QueueError, UnknownStream
from forebay.queues.making import new_streams
from forebay.queues.newer import refuse_newer

from .faults import NotThere
from .lane import Lane
from .logs import (
    CATALOG,
    DEAD_LETTERS,
    arguments,
    birth,
    dead_letter_arguments,
    group_arguments,
    group_log,
    intake,
    intake_arguments,
    partition_log,
    payload,
)
from .places import birth as birth_of_partition
from .writer import Writer

#: Raised with every change of what a stream or a group's queue holds; a program refuses what is newer than it knows.
VERSION = 1

#: Queues that are made at the same time: each costs the node some 50 ms.
_AT_ONCE = 8

#: Each has a channel of every producer, and a place in a group's state, which is one message.
_MOST_PARTITIONS = 1000


class Catalog:
    """What one writer knows of it. It hears of news by itself, and asks where something seems to be missing."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lane: Lane | None = None
        self._refreshing = asyncio.Lock()
        self._partitions: dict[str, int] = {}
        #: Streams whose partitions have their intakes: those of before had none.
        self._taking: set[str] = set()
        self._groups: dict[str, list[str]] = defaultdict(list)
        #: Streams that a newer Forebay made, or has a group in, and its version.
        self._newer: dict[str, int] = {}

    def begin(self) -> None:
        """As a listener."""
        self._partitions.clear()
        self._taking.clear()
        self._groups.clear()
        self._newer.clear()

    def read(self, offset: int, body: bytes) -> None:
        """As a listener."""
        found = payload(body)
        if found is None:
            return
        told: dict[str, Any] = orjson.loads(found)
        if told.get("version", VERSION) > VERSION:
            self._newer[told["stream"]] = told["version"]
            self._partitions.pop(told["stream"], None)
        elif told["stream"] in self._newer:
            return
        elif "partitions" in told:
            holds = self._partitions.setdefault(told["stream"], told["partitions"])
            if told.get("intakes") and told["partitions"] == holds:
                self._taking.add(told["stream"])
        elif told["group"] not in self._groups[told["stream"]]:
            self._groups[told["stream"]].append(told["group"])

    async def refresh(self) -> None:
        """Know all that stands there now. Raises `QueueUnavailable`."""
        async with self._refreshing:
            try:
                if self._lane is None:
                    self._lane = await self._writer.follow(CATALOG, self)
                else:
                    await self._lane.catch_up()
            except NotThere:
                self._forget()

    def _forget(self) -> None:
        self._lane = None
        self.begin()

    def known(self, stream: str) -> int | None:
        """How many partitions the stream has, if we know it: of a catalog that was deleted nothing holds any more."""
        if self._lane is not None and self._lane.is_gone:
            self._forget()
        return self._partitions.get(stream)

    async def partitions(self, stream: str) -> int:
        """How many partitions the stream has. Raises `UnknownStream`, `QueueUnavailable`, and as `refuse_newer`."""
        if self.known(stream) is None:
            await self.refresh()
        self._refuse_newer(stream)
        if stream not in self._partitions:
            raise unknown(stream)
        return self._partitions[stream]

    async def groups(self, stream: str) -> list[str]:
        """The groups that were ever in the stream. Raises as `partitions` does."""
        await self.refresh()
        await self.partitions(stream)
        return list(self._groups[stream])

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """The streams that are not there, or not all of which is. Raises `QueueError` for too many partitions."""
        if partitions > _MOST_PARTITIONS:
            raise QueueError(f"partitions: {partitions}; the RabbitMQ queue takes {_MOST_PARTITIONS} at most")
        await self.refresh()
        names = list(dict.fromkeys(streams))
        for name in names:
            self._refuse_newer(name)
        new = new_streams(names, partitions, self._partitions.get)
        return [name for name in names if name in new or name not in self._taking or await self._lacks(name)]

    def _refuse_newer(self, stream: str) -> None:
        refuse_newer(f"stream {stream}", self._newer.get(stream, VERSION), VERSION)

    async def _lacks(self, name: str) -> bool:
        """Whether a queue of the stream was deleted: by hand, or by a policy that lets queues expire."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def is_whole(log: str) -> bool:
            async with turns:
                return await self._writer.has(log) and await self._writer.has(intake(log))

        return not all(await asyncio.gather(*map(is_whole, _logs(name, self._partitions[name]))))

    async def make(self, streams: Iterable[str], partitions: int) -> list[str]:
        """Make what is missing, and return its names."""
        names = await self.missing(streams, partitions)
        if names:
            await self._writer.make(CATALOG, arguments(), birth())
        if not await self._writer.has(DEAD_LETTERS):
            await self._writer.make(DEAD_LETTERS, dead_letter_arguments())
        for name in names:
            await self._make(name, partitions)
        await self.missing(names, partitions)
        return names

    async def _make(self, name: str, partitions: int) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def make(log: str) -> None:
            async with turns:
                await self._writer.make(log, arguments(), birth_of_partition())
                await self._writer.make(intake(log), intake_arguments())

        await asyncio.gather(*map(make, _logs(name, partitions)))
        await self._put(stream=name, partitions=partitions, intakes=True)

    async def add_group(self, stream: str, group: str) -> str:
        """Have the group in the catalog, and its queue made. Returns the queue."""
        queue = group_log(stream, group)
        if group not in await self.groups(stream):
            await self._writer.make(queue, group_arguments(self._partitions[stream]), birth())
            await self._put(stream=stream, group=group)
        return queue

    async def _put(self, **told: object) -> None:
        await self._writer.put(CATALOG, orjson.dumps({**told, "version": VERSION}))


def _logs(name: str, partitions: int) -> list[str]:
    return [partition_log(name, number) for number in range(partitions)]


def unknown(stream: str, error: NotThere | None = None) -> UnknownStream:
    """The error that says what to do, where there is no such stream, or a queue of it is not there."""
    lacks = f"a part of stream {stream} was deleted: {error}" if error else f"there is no stream {stream}"
    return UnknownStream(f"{lacks}; `forebay topics ensure` makes it")
