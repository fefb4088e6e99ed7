"""The only way into a partition's stream: what its intake has taken gets its place, and is written there.

The intake is a quorum queue: it has an entry on the disks of most nodes before it gives it out. A stream has what it
confirms in their memory, and their systems write it later. So the intake keeps what was forwarded for so long.

Of all sequencers of a partition the intake serves one. When that is gone, the next one gets everything that was not
acknowledged once more, in its order, looks how much of it the stream has, and goes on. So both give an entry the same
place, and a reader knows a late copy.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.logger import get_logger

from . import places
from .channel import Channel
from .connection import Connection
from .faults import TOO_LARGE
from .finding import end, tail
from .finding import places as found_in
from .holding import Holding
from .logs import intake
from .looking import Entries

#: Entries that came and are not acknowledged: the most that AMQP 0.9.1 knows. Never less: who takes less than another
#: has held gets it in two parts, and when he is gone as well, the second part comes before the first.
PREFETCH = 65_535

#: Entries on their way into the stream.
_WINDOW = 1000

#: Entries of which all is kept while it is not known yet which of them the stream has: of the others only their names,
#: since mostly it has all but a few, and a minute's events take much room.
_WHOLE = 5000

#: Is told that it stands in line no more, and the reason if one was given.
Lost = Callable[[BaseException | None], None]

log = get_logger(__name__)


class Sequencer:
    """One partition's, in one process. It waits until the intake serves it."""

    def __init__(self, stream: str, hold_s: float, lost: Lost, clock: Callable[[], float]) -> None:
        self.stream, self._intake = stream, intake(stream)
        self._hold_s, self._lost, self._clock = hold_s, lost, clock
        self._keeps_whole = False
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._looking: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._holding = Holding(self._hold_s)
        #: What came and was not forwarded, by the number of its delivery.
        self._taken: deque[tuple[int, bytes]] = deque()
        #: Set when all has come that was delivered to another before.
        self._all_came = asyncio.Event()
        self._is_serving = self._is_full = False
        self._came_at, self._came, self._acknowledged, self._published = 0.0, 0, 0, 0
        #: How many of them have come again.
        self._again = 0
        self._next = self._ahead = 0
        #: Publication → delivery of what is too large for the stream.
        self._refused: dict[int, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether it waits to be served, or is."""
        return self._channel is not None

    async def open(self, connection: Connection) -> None:
        """Stand in line. Raises `QueueUnavailable`, `NotThere`."""
        self._begin()
        self._connection = connection
        channel = await connection.channel()
        channel.on_closed = partial(self._closed, channel)
        channel.on_cancelled(partial(self._break, channel))
        channel.on_returned(partial(self._break, channel))
        self._channel = channel
        try:
            await channel.find(self.stream)
            await channel.confirm_each(partial(self._confirmed, channel))
            await channel.prefetch(PREFETCH)
            await channel.take(self._intake, partial(self._deliver, connection, channel))
        except BaseException:
            self._break(channel)
            raise

    def _deliver(self, connection: Connection, channel: Channel, delivery: int, is_again: bool, body: bytes) -> None:
        if channel is not self._channel:
            return
        if is_again and self._all_came.is_set():
            # The intake has served another meanwhile, and we have heard nothing of it.
            self._break(channel)
            return
        now = self._clock()
        # Another may have been served in a silence, and all of his may have been acknowledged, but not in a short one.
        if now - self._came_at > self._hold_s / 2:
            self._is_serving = False
        self._came_at, self._came, self._again = now, delivery, self._again + is_again
        self._taken.append((delivery, body))
        if not (self._is_serving or self._keeps_whole) and len(self._taken) > _WHOLE:
            number, whole = self._taken[-_WHOLE - 1]
            self._taken[-_WHOLE - 1] = number, places.head(whole)
        if not is_again or len(self._taken) == PREFETCH:
            self._all_came.set()
        if self._is_serving:
            self._forward(channel)
        elif self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._take_over(connection, channel))

    async def _take_over(self, connection: Connection, channel: Channel) -> None:
        try:
            sign = places.takeover()
            self._publish(channel, self.stream, sign)
            if not self._all_came.is_set():
                # Behind what comes again there may be nothing else that would show its end.
                self._publish(channel, self._intake, places.turn())
            entries = await tail(connection, self.stream, until=sign)
            await self._all_came.wait()
            self._go_on(entries, sign)
        except Exception as error:
            if not isinstance(error, QueueError):
                log.exception("sequencer_failed", queue=self.stream)
            self._looking = None
            self._break(channel, error)
        else:
            self._looking, self._is_serving = None, True
            self._forward(channel)

    def _go_on(self, entries: Entries, sign: bytes) -> None:
        """Leave out what the stream has, and find the place of what comes next."""
        here = {places.name(body): index for index, (_, body) in enumerate(self._taken)}
        by_place = sorted(found_in(entries), key=lambda one: one.place, reverse=True)
        last = next((here[name] for one in by_place if (name := places.name(one.entry)) in here), -1)
        self._keeps_whole = not self._keeps_whole and len(self._taken) - last - 1 > _WHOLE
        if self._keeps_whole:
            raise QueueUnavailable("the intake has to give once more what is missing, which is much")
        for _ in range(last + 1):
            self._holding.skipped(self._taken.popleft()[0])
        # What we have under way ourselves may not be there yet.
        self._next = max(self._next, end(entries))
        self._ahead = next(at for at, body in entries if body == sign) + 1 - self._next
        if self._again:
            missing = max(0, self._again - last - 1)
            log.info("sequencer_took_over", queue=self.stream, held=self._again, missing=missing)
        self._again = 0

    def _forward(self, channel: Channel) -> None:
        try:
            while self._taken and len(self._holding) < _WINDOW:
                self._pass_on(channel, *self._taken.popleft())
        except QueueUnavailable:
            self._break(channel)

    def _pass_on(self, channel: Channel, delivery: int, body: bytes) -> None:
        if not places.is_ours(body):
            self._holding.skipped(delivery)
            if not places.is_turn(body):
                log.error("intake_refused", queue=self._intake, reason="Forebay has not written this", bytes=len(body))
                self._reject(channel, delivery)
            return
        whole = places.at_place(self._next, self._ahead, body)
        largest = self._connection.largest if self._connection is not None else None
        if largest is not None and len(whole) > largest:
            reason = f"larger than the server's max_message_size of {largest}"
            log.error("intake_refused", queue=self._intake, reason=reason, bytes=len(body))
            whole = places.at_place(self._next, self._ahead, places.refusal(body))
            self._refused[self._published + 1] = delivery
        self._next += 1
        self._holding.forwarded(delivery, self._publish(channel, self.stream, whole))

    def _publish(self, channel: Channel, queue: str, body: bytes) -> int:
        channel.publish(queue, body)
        self._published += 1
        return self._published

    def _confirmed(self, channel: Channel, publication: int, is_multiple: bool, is_taken: bool) -> None:
        if channel is not self._channel:
            return
        if not is_taken:
            self._break(channel)
            return
        self._holding.confirmed(publication, is_multiple=is_multiple)
        for number in [one for one in self._refused if one == publication or (is_multiple and one < publication)]:
            # Only now: what is not in the intake any more must have its place in the stream.
            self._reject(channel, self._refused.pop(number))
        if self._is_serving:
            self._forward(channel)

    def _reject(self, channel: Channel, delivery: int) -> None:
        channel.reject(delivery)
        self._holding.rejected(delivery)

    def tick(self) -> None:
        """Acknowledge what has been held for long enough."""
        if self._channel is None:
            return
        if ripe := self._holding.ripe(self._clock()):
            self._acknowledged = ripe
            self._channel.ack(ripe)
        was_full, self._is_full = self._is_full, self._came - self._acknowledged >= PREFETCH
        if self._is_full and not was_full:
            log.warning("intake_waits", queue=self._intake, held=PREFETCH, hold_s=self._hold_s)

    def _closed(self, channel: Channel, error: BaseException) -> None:
        if self._connection is not None and (found := TOO_LARGE.search(str(error))):
            self._connection.largest = int(found[1])
        self._break(channel, error)

    def _break(self, channel: Channel, error: BaseException | None = None) -> None:
        if channel is self._channel:
            self.close()
            self._lost(error)

    def close(self) -> None:
        """Stand in line no more, until it is opened again. What was not acknowledged is another's."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
