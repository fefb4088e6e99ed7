"""What a lane makes of a stream that was cut, of a connection that is lost, and of a queue that was away."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

import orjson
import pytest

from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.catalog import Catalog
from forebay.queues.rabbitmq.faults import NotThere
from forebay.queues.rabbitmq.lane import Lane
from forebay.queues.rabbitmq.logs import birth, entry
from forebay.queues.rabbitmq.writer import Writer

OTHER = entry(b"another.", 1, b"")


class Node:
    """A connection to a node with one stream."""

    blocked = None
    is_open = True
    largest: int | None = None

    def __init__(self) -> None:
        self.entries = [(0, birth())]
        self.channels: list[Channel] = []
        self.is_there = True
        self.is_silent = False
        self.consumed = asyncio.Event()
        #: Is called before each answer to a wish for more, with the channel.
        self.asked: Callable[[Channel], None] = lambda channel: None

    def check(self) -> None:
        """It has no alarm."""

    async def channel(self) -> Any:
        self.channels.append(Channel(self))
        return self.channels[-1]

    def add(self, body: bytes) -> None:
        self.entries.append((self.entries[-1][0] + 1, body))


class Channel:
    """As the real one, to its node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._next: int | None = None
        self.started: int | str | None = None
        self.acked: list[int] = []
        self._error: QueueError | None = None
        self._deliveries = count(1)
        self._delivered: Callable[[int, int, bytes], None] = lambda delivery, offset, body: None
        self.on_closed: Callable[[BaseException], None] = lambda error: None
        self.cancel: Callable[[], None] = lambda: None
        self.give_back: Callable[[], None] = lambda: None

    def lose(self) -> None:
        self._error = QueueUnavailable("the connection was lost")
        self.on_closed(self._error)

    async def find(self, queue: str) -> None:
        if not self._node.is_there:
            raise NotThere(queue)

    async def confirm(self, told: Callable[[bool], None]) -> None:
        self.confirmed = told

    async def consume(self, queue: str, offset: int | str, delivered: Callable[[int, int, bytes], None]) -> None:
        first, last = self._node.entries[0][0], self._node.entries[-1][0]
        self._next = offset if isinstance(offset, int) else {"first": first, "last": last}[offset]
        self._delivered, self.started = delivered, offset
        self._node.consumed.set()
        asyncio.get_running_loop().call_soon(self._deliver)

    async def prefetch(self, most: int) -> None:
        if self._next is not None:
            self._node.asked(self)
        if self._error is not None:
            raise self._error
        self._deliver()

    def _deliver(self) -> None:
        if self._next is None or self._error is not None or self._node.is_silent:
            return
        for offset, body in [one for one in self._node.entries if one[0] >= self._next]:
            self._next = offset + 1
            self._delivered(next(self._deliveries), offset, body)

    def publish(self, queue: str, body: bytes) -> None:
        if self._error is not None:
            raise self._error
        self._node.add(body)
        asyncio.get_running_loop().call_soon(self._deliver)

    def on_cancelled(self, told: Callable[[], None]) -> None:
        self.cancel = told

    def on_returned(self, told: Callable[[], None]) -> None:
        self.give_back = told

    def ack(self, delivery: int) -> None:
        self.acked.append(delivery)

    def close(self) -> None:
        self._next = None


class Listening:
    """A listener that remembers all."""

    def __init__(self) -> None:
        self.heard: list[int | str] = []

    def begin(self) -> None:
        self.heard.append("begin")

    def read(self, offset: int, body: bytes) -> None:
        self.heard.append(offset)


def _lane(listener: Listening) -> Lane:
    return Lane("queue", b"12345678", listener, numbers=count(1), lost=lambda: None, told=lambda: None)


async def _open(lane: Lane, node: Any) -> None:
    await lane.open(node)


async def test_a_follower_whose_place_was_cut_off_begins_anew() -> None:
    node, listener = Node(), Listening()
    lane = _lane(listener)
    await _open(lane, node)
    for _ in range(6):
        node.add(OTHER)
    del node.entries[:4]

    await _open(lane, node)

    assert listener.heard == ["begin", 0, "begin", 4, 5, 6]


async def test_a_follower_whose_place_is_there_goes_on() -> None:
    node, listener = Node(), Listening()
    lane = _lane(listener)
    await _open(lane, node)
    node.add(OTHER)

    await _open(lane, node)
    await _open(lane, node)

    assert listener.heard == ["begin", 0, 1]
    assert [channel.started for channel in node.channels] == ["first", 0, 1]


async def test_all_that_is_read_is_acknowledged_or_no_more_would_come() -> None:
    node = Node()
    await _open(_lane(Listening()), node)
    [channel] = node.channels

    for delivery in (2, 3):
        node.add(OTHER)
        channel._deliver()
        await asyncio.sleep(0)
        assert channel.acked[-1] == delivery


@pytest.mark.parametrize("what", ["confirmed", "give_back"])
async def test_what_the_node_does_not_take_makes_a_lane_begin_anew(what: str) -> None:
    node, lost = Node(), list[str]()
    lane = Lane(
        "queue", b"12345678", Listening(), numbers=count(1), lost=lambda: lost.append("lost"), told=lambda: None
    )
    await _open(lane, node)
    [channel] = node.channels

    channel.confirmed(True)
    assert (lane.is_ready, lost) == (True, [])
    channel.confirmed(False) if what == "confirmed" else channel.give_back()
    assert (lane.is_ready, lost) == (False, ["lost"])


async def test_a_follower_at_whose_place_stands_something_else_begins_anew() -> None:
    node, listener = Node(), Listening()
    lane = _lane(listener)
    node.add(OTHER)
    await _open(lane, node)
    del node.entries[1:]
    for _ in range(2):
        node.add(entry(b"later...", 1, b""))

    with pytest.raises(QueueUnavailable, match="something else where it was read"):
        await _open(lane, node)
    await _open(lane, node)

    assert listener.heard == ["begin", 0, 1, "begin", 0, 1, 2]


async def test_who_waits_for_the_first_entry_hears_of_a_lost_connection_at_once() -> None:
    node = Node()
    lane = _lane(Listening())
    await _open(lane, node)
    node.is_silent = True
    node.consumed.clear()
    opening = asyncio.create_task(_open(lane, node))
    await node.consumed.wait()

    node.channels[-1].lose()

    # And not that the stream had become shorter, which is found out after half a minute.
    with pytest.raises(QueueUnavailable, match="the connection was lost"):
        await opening
    assert lane.position == 1


async def test_a_lane_whose_channel_is_closed_while_it_opens_says_why() -> None:
    node = Node()
    node.asked = lambda channel: channel.on_closed(QueueUnavailable("access to exchange 'amq.default' refused"))

    with pytest.raises(QueueUnavailable, match=r"amq\.default"):
        await _open(_lane(Listening()), node)


async def test_a_lane_whose_reading_is_ended_while_it_opens_is_not_ready() -> None:
    node = Node()
    lane = _lane(Listening())
    node.asked = lambda channel: channel.cancel()

    with pytest.raises(QueueUnavailable, match="out of reach"):
        await _open(lane, node)

    assert not lane.is_ready


async def test_who_asks_for_all_while_a_lane_opens_is_not_told_that_nothing_came() -> None:
    node = Node()
    lane = _lane(Listening())
    await _open(lane, node)
    node.channels[-1].lose()
    node.add(OTHER)
    node.is_silent = True
    node.consumed.clear()
    opening = asyncio.create_task(_open(lane, node))
    await node.consumed.wait()

    with pytest.raises(QueueUnavailable, match="out of reach"):
        await lane.catch_up()

    opening.cancel()


async def test_what_an_earlier_channel_still_says_breaks_nothing() -> None:
    node = Node()
    lane = _lane(Listening())
    await _open(lane, node)
    await _open(lane, node)

    node.channels[0].cancel()
    assert lane.is_ready
    node.channels[1].cancel()

    assert not lane.is_ready


async def test_a_stream_that_was_deleted_is_told_so_and_followed_again_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node, writer = Node(), Writer(address("amqp://localhost"), "test")

    async def connected(_: Writer) -> Node:
        return node

    monkeypatch.setattr(Writer, "connection", connected)
    catalog = Catalog(writer)
    await catalog.refresh()
    node.is_there = False
    node.channels[-1].lose()
    with pytest.raises(UnknownStream):
        while True:
            await _unless_away(catalog.partitions("events"))
    node.is_there = True
    node.add(entry(b"another.", 2, orjson.dumps({"stream": "events", "partitions": 3})))

    assert await catalog.partitions("events") == 3
    await writer.close()


async def _unless_away(asked: Awaitable[int]) -> None:
    with suppress(QueueUnavailable):
        await asked
    await asyncio.sleep(0)


async def test_a_lane_that_is_made_anew_takes_no_earlier_entry_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    node, writer = Node(), Writer(address("amqp://localhost"), "test")

    async def connected(_: Writer) -> Node:
        return node

    monkeypatch.setattr(Writer, "connection", connected)
    assert await writer.put("queue", b"one") == 1
    node.is_there = False
    node.channels[-1].lose()
    with pytest.raises(NotThere):
        await writer.put("queue", b"refused")
    node.is_there = True

    assert await writer.put("queue", b"two") == 2
    assert [body[-3:] for _, body in node.entries[1:]] == [b"one", b"two"]
    await writer.close()


async def test_a_writer_that_was_closed_connects_no_more() -> None:
    writer = Writer(address("amqp://localhost:1"), "test")
    await writer.close()

    with pytest.raises(QueueUnavailable, match="was closed"):
        await writer.connection()
