"""A partition that is written to: through its intake, and read back in its stream."""

import asyncio
from typing import Any

from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.schemas.logger import get_logger

from . import places
from .channel import Channel
from .connection import Connection
from .finding import way_to
from .lane import Lane, Written
from .logs import intake

#: Seconds for an entry's way through the intake, while nothing else is under way.
_THROUGH_S = 30.0

log = get_logger(__name__)


class PartitionLane(Lane):
    """A lane whose entries are told by their places."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.target = intake(self.queue)
        #: No two of our messages are alike, also when an entry is written again.
        self._attempt = 0
        self._highest: int | None = None
        self._mark = b""
        self._passed = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None

    def add(self, payload: bytes, written: Written) -> None:
        """As it is there; and see to it that it comes through."""
        super().add(payload, written)
        self._watch_oldest()

    def _watch_oldest(self) -> None:
        if self._watch is None and self._entries:
            oldest = next(iter(self._entries))
            self._watch = asyncio.get_running_loop().call_later(_THROUGH_S, self._look, oldest)

    def _look(self, oldest: int) -> None:
        """Find out what became of an entry that does not come: somebody may have taken it out of the intake."""
        self._watch = None
        if oldest in self._entries and self.is_ready:
            log.warning("intake_silent", queue=self.target, written=len(self._entries), silent_s=_THROUGH_S)
            self._break()
        self._watch_oldest()

    def _body(self, number: int, payload: bytes) -> bytes:
        return places.entry(self._writer, number, self._attempt, payload)

    async def _find(self, channel: Channel) -> None:
        await super()._find(channel)
        await channel.find(self.target)
        self._attempt += 1

    async def _start(self, connection: Connection) -> int | str:
        # Its offsets may be others than before: it may have lost its end, and got it again.
        self.position = None
        if self._highest is None or not self._has_unknown:
            return await super()._start(connection)
        return await way_to(connection, self.queue, self._highest)

    async def _know(self, channel: Channel) -> None:
        """Have a mark go through the intake: what we wrote before is in the stream then, or nowhere."""
        if not self._has_unknown:
            return
        self._passed.clear()
        self._mark = places.mark()
        channel.publish(self.target, self._mark)
        try:
            async with asyncio.timeout(_THROUGH_S):
                await self._passed.wait()
        except TimeoutError as error:
            raise QueueUnavailable(f"{self.target}: nothing has come through it for {_THROUGH_S:.0f} s") from error

    def _read(self, offset: int, body: bytes) -> None:
        found = places.placed(offset, body)
        if found is None:
            return
        self._highest = max(found.place, self._highest or 0)
        if found.entry == self._mark:
            self._passed.set()
        identity = places.identity(found.entry)
        if identity is None or identity.writer != self._writer:
            return
        if places.is_refusal(found.entry):
            self._tell(identity.number, RecordRefused("larger than the server takes, by its max_message_size"))
        else:
            self._tell(identity.number, found.place)

    def _break(self) -> None:
        super()._break()
        self._passed.set()
