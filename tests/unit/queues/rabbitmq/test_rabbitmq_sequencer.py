"""How a sequencer goes on where another has ended, and what it makes of what it is served."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.rabbitmq import places, sequencer, sequencing
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.faults import NotThere
from forebay.queues.rabbitmq.finding import places as found_in
from forebay.queues.rabbitmq.sequencer import Sequencer
from forebay.queues.rabbitmq.sequencing import Sequencing
from tests.unit.queues.rabbitmq.streams import Stream

HOLD_S = 60.0


class Channel:
    """As the real one, to a node with a stream and an intake, which the test serves."""

    def __init__(self, stream: Stream, away: str = "") -> None:
        self._stream, self._away = stream, away
        self.rejected: list[int] = []
        self.acked: list[int] = []
        self.is_open = True
        self.taken = ""
        self.turns: list[bytes] = []
        self._published = 0
        self.on_closed: Callable[[BaseException], None] = lambda error: None

    async def find(self, queue: str) -> int:
        if queue == self._away:
            raise QueueUnavailable("home node is down or inaccessible")
        return 0

    async def confirm_each(self, told: Callable[[int, bool, bool], None]) -> None:
        self._confirm = told

    async def prefetch(self, most: int) -> None:
        pass

    async def take(self, queue: str, delivered: Callable[[int, bool, bytes], None]) -> None:
        self.deliver, self.taken = delivered, queue

    def on_cancelled(self, told: Callable[[], None]) -> None:
        self.cancel = told

    def on_returned(self, told: Callable[[], None]) -> None:
        self.give_back = told

    def publish(self, queue: str, body: bytes) -> None:
        self._published += 1
        if queue.endswith(":intake"):
            self.turns.append(body)
        else:
            self._stream.add(body)
        asyncio.get_running_loop().call_soon(partial(self._confirm, self._published, False, True))

    def reject(self, delivery: int) -> None:
        self.rejected.append(delivery)

    def ack(self, delivery: int) -> None:
        # A node ends the channel then.
        assert delivery not in self.rejected
        self.acked.append(delivery)

    def close(self) -> None:
        self.is_open = False


class World:
    """One sequencer, whose channels the test serves."""

    largest: int | None = None

    def __init__(self, stream: Stream) -> None:
        self.stream, self.now, self.lost = stream, 1000.0, 0
        self.why: BaseException | None = None
        self.one = Sequencer("forebay:events:0", HOLD_S, self._lost, lambda: self.now)

    def _lost(self, error: BaseException | None) -> None:
        self.lost += 1
        self.why = error

    async def channel(self) -> Any:
        self.latest = Channel(self.stream)
        return self.latest

    async def open(self) -> Channel:
        connection: Any = self
        await self.one.open(connection)
        return self.latest

    def there(self) -> list[tuple[int, bytes]]:
        return [(one.place, one.entry) for one in found_in(list(enumerate(self.stream.bodies)))]


def entry(number: int, payload: bytes = b"") -> bytes:
    return places.entry(b"12345678", number, 1, payload)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    stream = Stream(monkeypatch)
    stream.add(places.birth())
    return World(stream)


async def test_what_comes_gets_places_in_its_order(world: World) -> None:
    channel = await world.open()
    for number in range(5):
        channel.deliver(number + 1, False, entry(number))
    await settled()

    assert world.there() == [(number, entry(number)) for number in range(5)]


async def test_the_next_one_forwards_what_is_missing_at_the_places_that_it_had(world: World) -> None:
    channel = await world.open()
    for number in range(5):
        channel.deliver(number + 1, False, entry(number))
    await settled()
    # A power cut takes the last three, and the intake gives all that it has held.
    del world.stream.bodies[-3:]
    world.one.close()

    channel = await world.open()
    for number in range(1, 5):
        channel.deliver(number, True, entry(number))
    await settled()
    assert world.there() == [(number, entry(number)) for number in range(2)]
    assert len(channel.turns) == 1
    with capture_logs() as told:
        channel.deliver(5, False, channel.turns[0])
        channel.deliver(6, False, entry(9))
        await settled()

    assert world.there() == [(number, entry(number)) for number in range(5)] + [(5, entry(9))]
    assert [(one["event"], one["held"], one["missing"]) for one in told] == [("sequencer_took_over", 4, 3)]


async def test_who_is_served_without_a_silence_looks_at_the_stream_once(world: World) -> None:
    channel = await world.open()
    for number in range(3):
        channel.deliver(number + 1, False, entry(number))
        await settled()
        world.now += HOLD_S / 2

    assert world.there() == [(number, entry(number)) for number in range(3)]
    assert len(world.stream.bodies) == len([places.birth(), places.takeover(), *range(3)])


async def test_what_is_missing_is_asked_for_once_more_when_it_is_more_than_was_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "_WHOLE", 3)
    bodies = [entry(number, b"payload") for number in range(9)]
    world.stream.add(places.at_place(0, 1, bodies[0]))
    for turn in (1, 2):
        channel = await world.open()
        for number, body in enumerate(bodies):
            channel.deliver(number + 1, True, body)
        await settled()
        channel.deliver(10, False, channel.turns[0])
        await settled()
        assert world.lost == 1, turn

    assert world.there() == list(enumerate(bodies))


async def test_what_the_stream_has_is_left_out_although_no_more_than_its_name_was_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "_WHOLE", 3)
    bodies = [entry(number, b"payload") for number in range(9)]
    world.stream.add(*(places.at_place(number, 1, body) for number, body in enumerate(bodies[:7])))
    channel = await world.open()
    for number, body in enumerate(bodies):
        channel.deliver(number + 1, True, body)
    await settled()
    channel.deliver(10, False, channel.turns[0])
    await settled()

    assert world.lost == 0
    assert world.there() == list(enumerate(bodies))


async def test_what_is_larger_than_the_server_takes_leaves_its_place_and_goes_to_the_dead_letters(
    world: World,
) -> None:
    channel = await world.open()
    channel.on_closed(RuntimeError("message size 999 is larger than configured max size 100"))
    channel = await world.open()
    with capture_logs() as told:
        channel.deliver(1, False, entry(0, bytes(200)))
        channel.deliver(2, False, b"garbage")
        channel.deliver(3, False, entry(1))
        await settled()

    assert world.there() == [(0, places.refusal(entry(0))), (1, entry(1))]
    assert sorted(channel.rejected) == [1, 2]
    assert [one["event"] for one in told] == ["intake_refused"] * 2
    # The next one is not to count it, although it is not in the intake any more.
    world.one.close()
    channel = await world.open()
    channel.deliver(1, True, entry(1))
    channel.deliver(2, False, entry(2))
    await settled()
    assert world.there()[2:] == [(2, entry(2))]


async def test_one_that_was_not_served_for_a_while_looks_where_the_others_are(world: World) -> None:
    channel = await world.open()
    channel.deliver(1, False, entry(0))
    await settled()
    # Another was served, and all that he has forwarded is acknowledged.
    world.stream.add(*(places.at_place(number, 7, entry(number)) for number in (1, 2)))
    world.now += HOLD_S
    channel.deliver(2, False, entry(3))
    await settled()

    assert world.there() == [(number, entry(number)) for number in range(4)]
    # And when it was a short while, something comes again.
    channel.deliver(3, True, entry(2))
    assert (world.lost, channel.is_open) == (1, False)


async def test_what_was_held_for_long_enough_is_acknowledged(world: World) -> None:
    channel = await world.open()
    world.one.tick()
    for number in range(3):
        channel.deliver(number + 1, False, entry(number))
    await settled()

    world.one.tick()
    world.now += HOLD_S - 1
    world.one.tick()
    assert channel.acked == []
    world.now += 1
    world.one.tick()
    assert channel.acked == [3]


async def test_no_more_is_under_way_than_may_be_and_the_rest_follows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "_WINDOW", 2)
    channel = await world.open()
    for number in range(7):
        channel.deliver(number + 1, False, entry(number))
    await settled()

    assert world.there() == [(number, entry(number)) for number in range(7)]


async def test_an_intake_that_waits_for_what_is_held_is_told_each_time_it_comes_to_that(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "PREFETCH", 3)
    channel, told = await world.open(), list[int]()
    for turn in range(2):
        with capture_logs() as logs:
            for number in range(3 * turn, 3 * turn + 3):
                channel.deliver(number + 1, False, entry(number))
            await settled()
            world.one.tick()
            world.one.tick()
            world.now += HOLD_S
            world.one.tick()
        told.append([log["event"] for log in logs].count("intake_waits"))

    assert told == [1, 1]


async def test_what_was_rejected_is_not_acknowledged_too(world: World) -> None:
    channel = await world.open()
    channel.deliver(1, False, entry(0))
    channel.deliver(2, False, b"garbage")
    await settled()

    for _ in range(4):
        world.one.tick()
        world.now += HOLD_S
    channel.deliver(3, False, entry(1))
    await settled()
    for _ in range(3):
        world.one.tick()
        world.now += HOLD_S

    assert channel.rejected == [2]
    assert set(channel.acked) == {1, 3}


async def test_a_node_that_refuses_makes_it_begin_anew(world: World) -> None:
    channel = await world.open()
    channel.deliver(1, False, entry(0))
    await settled()

    channel._confirm(9, False, False)

    assert (world.lost, channel.is_open, world.one.is_open) == (1, False, False)


@pytest.mark.parametrize("what", ["cancel", "give_back"])
async def test_a_node_that_serves_it_no_more_or_has_no_stream_for_it_makes_it_begin_anew(
    world: World, what: str
) -> None:
    channel = await world.open()

    getattr(channel, what)()

    assert (world.lost, channel.is_open, world.one.is_open) == (1, False, False)


async def test_why_the_node_has_ended_the_channel_is_told(world: World) -> None:
    channel = await world.open()
    reason = QueueError("delivery acknowledgement on channel 1 timed out")

    channel.on_closed(reason)

    assert (world.lost, world.why) == (1, reason)


class Node:
    """A connection to a node on which one partition is away."""

    is_open = True
    largest: int | None = None

    def __init__(self, stream: Stream, away: str) -> None:
        self._stream, self.away = stream, away
        self.channels: list[Channel] = []

    async def open(self) -> "Node":
        return self

    async def channel(self) -> Any:
        self.channels.append(Channel(self._stream, self.away))
        return self.channels[-1]

    async def close(self) -> None:
        pass


def two_partitions(world: World, monkeypatch: pytest.MonkeyPatch, away: str = "") -> tuple[Node, Sequencing]:
    node = Node(world.stream, away)

    async def reached(*_: object, **named: object) -> Node:
        return node

    monkeypatch.setattr(sequencing, "reach", reached)
    several = Sequencing(address("amqp://host"), lambda: world.now)
    for number in range(2):
        several.attach(f"forebay:events:{number}")
    return node, several


async def test_a_partition_that_is_away_does_not_have_the_intakes_of_the_others_run_full(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, several = two_partitions(world, monkeypatch, "forebay:events:1")
    while not (served := [one for one in node.channels if one.taken]):
        await asyncio.sleep(0)

    served[0].deliver(1, False, entry(0))
    while not served[0].acked:
        world.now += HOLD_S
        await asyncio.sleep(0.01)

    assert served[0].acked == [1]
    # And it stands in line itself as soon as it can.
    node.away = ""
    while {one.taken for one in node.channels} - {""} != {f"forebay:events:{number}:intake" for number in range(2)}:
        await asyncio.sleep(0.01)
    await several.close()


async def test_what_ends_several_again_and_again_is_told_once_of_each_and_what_is_not_there_to_who_writes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencing, "_AGAIN_S", 0.0)
    node, several = two_partitions(world, monkeypatch)

    with capture_logs() as logs:
        for turn in range(4):
            while len([one for one in node.channels if one.taken]) < 2 * (turn + 1):
                await asyncio.sleep(0)
            for one in node.channels[-2:]:
                gone = NotThere(f"NOT_FOUND - no queue '{one.taken}'")
                one.on_closed(gone if turn == 3 else QueueUnavailable(f"no leader of {one.taken}"))

    assert [log["error"] for log in logs] == [f"no leader of forebay:events:{number}:intake" for number in range(2)]
    await several.close()
