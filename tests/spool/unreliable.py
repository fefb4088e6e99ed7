"""A queue that acknowledges late, hangs, fails, refuses and dies, as its test wants it."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused, UnknownStream

#: up: takes and tells · late: takes, and tells when it is asked to · hangs: decides when it is asked to · down: fails
#: at once · raises: says of every other record at once that it is not taken, and hangs · refuses: takes only
#: quarantine · empty: has no streams yet · trips: its client fails by an error that is none of the contract's.
Mode = Literal["up", "late", "hangs", "down", "raises", "refuses", "empty", "trips"]


@dataclass(kw_only=True, eq=False)
class Sent:
    """A record that a producer was given, and has said nothing about."""

    stream: str
    record: Record
    delivery: Delivery
    is_taken: bool = False


@dataclass(kw_only=True)
class Broker:
    """What stands in the queue, stream by stream."""

    mode: Mode = "up"
    #: Of portals of which it does otherwise.
    modes: dict[str, Mode] = field(default_factory=dict)
    logs: dict[str, list[Record]] = field(default_factory=lambda: defaultdict(list))

    def producer(self) -> "UnreliableProducer":
        """A new one."""
        return UnreliableProducer(self)

    def take(self, sent: Sent) -> None:
        """Append the record, once."""
        if not sent.is_taken:
            sent.is_taken = True
            self.logs[sent.stream].append(sent.record)


class UnreliableProducer:
    """One connection to the broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.pending: list[Sent] = []
        self.is_closed = False
        self._numbers = count()

    async def send(self, stream: str, record: Record) -> Position:
        """As in the contract."""
        delivered: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.submit(stream, record, delivered)
        return await delivered

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract, or nearly."""
        if self.is_closed:
            raise QueueUnavailable("closed")
        mode = self.broker.modes.get(record.key, self.broker.mode)
        if mode == "raises" and next(self._numbers) % 2 == 0:
            raise QueueUnavailable("it has no room just now")
        if mode == "trips":
            raise TypeError("a client's own fault")
        self.pending.append(Sent(stream=stream, record=record, delivery=delivery))
        if mode == "late":
            self._take(self.pending[-1])
        elif mode == "up":
            self.deliver_all()
        elif mode not in ("hangs", "raises"):
            self._fail(self.pending[-1])

    def _fail(self, sent: Sent) -> None:
        mode = self.broker.modes.get(sent.record.key, self.broker.mode)
        if mode == "refuses" and sent.stream.endswith(".quarantine"):
            return self.deliver(sent)
        error = {"refuses": RecordRefused, "empty": UnknownStream}.get(mode, QueueUnavailable)
        self._tell(sent, error(f"the broker is {mode}"))

    def deliver_all(self) -> None:
        """Everything is taken, in its order, and told."""
        for sent in list(self.pending):
            # Whoever is told may send the next, and with it all the others are delivered already.
            if sent in self.pending:
                self.deliver(sent)

    def deliver(self, sent: Sent) -> None:
        """The record is taken, after those of its key that were sent before, and told."""
        if sent not in self.pending:
            # Whoever was told of another has sent more, and so this one has been told meanwhile.
            return
        for other in self._take(sent):
            self._tell(other, None)

    def _take(self, sent: Sent) -> list[Sent]:
        """Take the record, after those of its key that were sent before; gives all of them."""
        up_to_it = self.pending[: self.pending.index(sent) + 1]
        found = [one for one in up_to_it if one.record.key == sent.record.key]
        for one in found:
            self.broker.take(one)
        return found

    def fail(self, sent: Sent) -> None:
        """The record is surely not taken, if it is not yet, and neither is any that follows it."""
        if sent.is_taken:
            return self.deliver(sent)
        behind = self.pending[self.pending.index(sent) :]
        for other in [one for one in behind if one.record.key == sent.record.key]:
            self._tell(other, QueueUnavailable("it timed out"))

    def _tell(self, sent: Sent, error: Exception | None) -> None:
        if sent not in self.pending:
            return
        self.pending.remove(sent)
        if error is None:
            sent.delivery.set_result(Position(partition=0, offset=len(self.broker.logs[sent.stream])))
        else:
            sent.delivery.set_exception(error)  # type: ignore[arg-type]  # one of ours

    def die(self, taken: int) -> None:
        """The process ends: of what was under way so much is taken in the end, and nobody hears of it."""
        for sent in self.pending[:taken]:
            self.broker.take(sent)
        self.pending.clear()
        self.is_closed = True

    async def check(self) -> None:
        """As in the contract."""
        if self.broker.mode not in ("up", "refuses"):
            raise QueueUnavailable(f"the broker is {self.broker.mode}")

    async def finish(self, taken: int) -> None:
        """`close` as in the contract; cancelled, it says that nothing of what is left is kept, and so much of it is."""
        self.is_closed = True
        try:
            while self.pending:
                await asyncio.sleep(0)
        finally:
            for sent in self.pending[:taken]:
                self.broker.take(sent)
            for sent in list(self.pending):
                self._tell(sent, QueueUnavailable("it was closed before it had an answer"))

    async def close(self) -> None:
        """What is under way is given up."""
        for sent in list(self.pending):
            self.fail(sent)
        self.is_closed = True
