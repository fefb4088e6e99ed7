"""One fetch takes from all partitions within limits in all, and a full one starves none."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.queues.groups.bell import Bell
from forebay.queues.groups.contract import Stretch, Wanted, up_to
from forebay.queues.groups.parts import one_by_one, parts
from forebay.queues.groups.positions import Position, Positions
from forebay.queues.groups.reader import Reader, Wait

waitings = st.dictionaries(st.integers(0, 100), st.integers(1, 2_000_000), max_size=30)


@given(waitings, st.integers(0, 1000))
def test_the_parts_are_equal_but_for_what_one_can_not_use_and_take_all_the_room(
    waiting: dict[int, int], room: int
) -> None:
    found = parts(waiting, room)

    assert [*found] == [*waiting]
    assert sum(found.values()) == min(room, sum(waiting.values()))
    assert all(0 <= found[one] <= waiting[one] for one in waiting)
    unmet = [found[one] for one in waiting if found[one] < waiting[one]]
    assert min(unmet, default=room) >= max(found.values(), default=0) - 1


def test_what_can_not_be_parted_goes_to_the_first_ones() -> None:
    assert parts({3: 9, 1: 9, 2: 9}, 2) == {3: 1, 1: 1, 2: 0}
    assert parts({3: 1, 1: 9, 2: 9}, 6) == {3: 1, 1: 3, 2: 2}


class _Log:
    """Records of a hundred bytes, and how many bytes of them one read may hold."""

    def __init__(self, ends: dict[int, int], room: int = 10**9) -> None:
        self.kept, self.room = ends, room
        self.fails_at: int | None = None
        self.reads = 0

    def begin(self, connection: object) -> None:
        """There is no news."""

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """Nobody waits here."""

    def ends(self, connection: object, partitions: Collection[int]) -> dict[int, int]:
        return {partition: self.kept[partition] for partition in partitions}

    def read(self, connection: object, wanted: Sequence[Wanted]) -> list[Stretch]:
        self.reads += 1
        return one_by_one(wanted, self._stretch, self.room)

    def _stretch(self, one: Wanted, max_bytes: int) -> Stretch:
        if one.partition == self.fails_at:
            raise OSError("the disk")
        most = min(one.most, -(-max_bytes // 100))
        offsets = range(one.offset, min(one.end, one.offset + most))
        return up_to([_record(one.partition, offset) for offset in offsets], one.end)

    def still_has(self, connection: object, record: StoredRecord) -> bool:
        return True

    def close(self) -> None:
        """Nothing was opened."""


def _record(partition: int, offset: int) -> StoredRecord:
    return PlacedRecord(
        stream="events", partition=partition, offset=offset, key="", value=bytes(100), timestamp_ms=0, headers=()
    )


@contextmanager
def _fetching(log: _Log) -> Iterator[Callable[[int], dict[int, list[int]]]]:
    """Fetches at most so many, and gives everything out: partition → offsets."""
    bell = Bell()
    positions = Positions(bell)
    reader = Reader(log, positions, bell)
    for partition in log.kept:
        positions.assign(partition, Position(epoch=1, offset=0))

    def fetch(most: int) -> dict[int, list[int]]:
        chunks = reader.fetch(log, max_records=most, wait=Wait(until=0))
        assert all(positions.pass_over(chunk) for chunk in chunks)
        return {chunk.partition: [record.offset for record in chunk.records] for chunk in chunks}

    yield fetch
    bell.close()


def test_a_fetch_reads_all_partitions_at_once_and_what_one_does_not_need_is_the_others() -> None:
    log = _Log({0: 2, 1: 1000, 2: 1000, 3: 0})

    with _fetching(log) as fetch:
        found = fetch(12)

    assert log.reads == 1
    assert {partition: len(offsets) for partition, offsets in found.items()} == {0: 2, 1: 5, 2: 5}


@pytest.mark.parametrize("room", [10**9, 100, 1], ids=["a record a fetch", "bytes of one record", "less"])
def test_with_room_for_one_record_each_partition_comes_in_its_turn(room: int) -> None:
    with _fetching(_Log({0: 50, 1: 50, 2: 50}, room)) as fetch:
        found = [fetch(1 if room > 100 else 500) for _ in range(6)]

    assert [sum(len(offsets) for offsets in one.values()) for one in found] == [1] * 6
    assert sorted(partition for one in found for partition in one) == [0, 0, 1, 1, 2, 2]


def test_the_bytes_of_a_fetch_are_limited_in_all_and_parted_equally() -> None:
    with _fetching(_Log({0: 50, 1: 50, 2: 3}, room=1200)) as fetch:
        found = [fetch(500) for _ in range(2)]

    counts = [{partition: len(offsets) for partition, offsets in one.items()} for one in found]
    assert counts == [{1: 4, 2: 3, 0: 5}, {0: 6, 1: 6}]


def test_a_fetch_that_fails_in_the_middle_has_taken_nothing() -> None:
    log = _Log({0: 3, 1: 3, 2: 3})

    with _fetching(log) as fetch:
        for log.fails_at in range(3):
            with pytest.raises(OSError, match="the disk"):
                fetch(9)
        log.fails_at = None
        found = fetch(9)

    assert found == {partition: [0, 1, 2] for partition in range(3)}
