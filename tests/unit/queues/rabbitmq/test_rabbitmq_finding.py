"""Where a place is in a partition's stream, in which there is more than what has places."""

from typing import cast

import pytest

from forebay.queues.contract import Bounds
from forebay.queues.rabbitmq import finding, logs, places
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.finding import bounds, is_shorter, way_to
from forebay.queues.rabbitmq.looking import Entries
from tests.unit.queues.rabbitmq.streams import Stream

NOBODY = cast(Connection, None)


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    return Stream(monkeypatch)


def entry(number: int) -> bytes:
    return places.entry(b"12345678", number, 1, b"")


def forwarded(stream: Stream, start: int, end: int) -> None:
    """A sequencer takes over, and forwards these; their places are their numbers."""
    stream.add(places.takeover())
    ahead = len(stream.bodies) - start
    stream.add(*(places.at_place(number, ahead, entry(number)) for number in range(start, end)))


async def test_each_place_is_met_and_not_from_far(stream: Stream) -> None:
    stream.add(places.birth())
    for start in range(0, 3000, 100):
        forwarded(stream, start, start + 100)

    for place in (1, 99, 100, 1234, 2999, 3000):
        at = await way_to(NOBODY, "log", place)
        found = [one.place for one in finding.places(list(enumerate(stream.bodies))[at:])]
        assert found[0] <= place
        assert place - found[0] < 100
    assert await bounds(NOBODY, "log") == Bounds(start=0, end=3000)


async def test_what_was_written_late_hides_neither_the_end_nor_a_place(stream: Stream) -> None:
    stream.add(places.birth())
    forwarded(stream, 0, 50)
    late = stream.bodies[-20:]
    forwarded(stream, 50, 60)
    stream.add(*late)

    assert await bounds(NOBODY, "log") == Bounds(start=0, end=60)
    for place in (49, 50, 59, 60):
        at = await way_to(NOBODY, "log", place)
        met = [one.place for one in finding.places(list(enumerate(stream.bodies))[at:])]
        assert min(place, 59) in met


def test_what_has_a_place_again_is_passed_over(stream: Stream) -> None:
    forwarded(stream, 0, 50)
    late = stream.bodies[-20:]
    stream.add(*late, *late)
    forwarded(stream, 50, 60)

    found = finding.fresh(finding.places(list(enumerate(stream.bodies))), 30)

    assert [one.place for one in found] == list(range(30, 60))


async def test_an_empty_partition_has_an_end(stream: Stream) -> None:
    stream.add(places.birth(), *(places.takeover() for _ in range(30)))

    assert await bounds(NOBODY, "log") == Bounds(start=0, end=0)
    assert await way_to(NOBODY, "log", 7) == 0


async def test_where_retention_has_left_a_mark_alone_no_place_comes_again(stream: Stream) -> None:
    forwarded(stream, 0, 50)
    stream.add(places.takeover())
    stream.first = len(stream.bodies) - 1

    assert (await bounds(NOBODY, "log")).end >= 50


async def test_entries_of_before_there_were_intakes_keep_their_offsets(stream: Stream) -> None:
    stream.add(logs.birth(), *(logs.entry(b"12345678", number, b"") for number in range(9)))
    forwarded(stream, 10, 12)

    assert await bounds(NOBODY, "log") == Bounds(start=1, end=12)
    assert await way_to(NOBODY, "log", 10) <= 11


class Copy:
    """A copy of a stream, which has `behind` more entries that are on their way to it."""

    def __init__(self, end: int, behind: int) -> None:
        self._end = end
        self.entries: Entries = [(offset, places.at_place(offset, 0, entry(offset))) for offset in range(end + behind)]

    async def put(self, body: bytes) -> None:
        self.entries.append((len(self.entries), places.at_place(len(self.entries), 0, body)))

    async def look(self, connection: Connection, queue: str, offset: int, count: int) -> Entries:
        # Not all of it comes at once.
        return self.entries[offset : offset + 2]

    async def last(self, connection: Connection, queue: str) -> Entries:
        return self.entries[self._end - 1 : self._end]


@pytest.mark.parametrize(("end", "behind", "shorter"), [(4, 0, True), (4, 1, True), (4, 10, False)])
async def test_what_is_only_late_is_told_from_a_partition_that_is_shorter(
    end: int, behind: int, shorter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Copy(end, behind)
    monkeypatch.setattr(finding, "look", copy.look)
    monkeypatch.setattr(finding, "last_of", copy.last)

    assert await is_shorter(NOBODY, "log", 9, copy.put) is shorter
