"""The watermark never passes an unfinished offset, and its note brings back what was finished beyond it."""

import random
import zlib
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.processors.notes import Note, Place, Run, UnreadableNote, decode_note, encode_note, needed_of
from forebay.processors.offsets import Watermark
from forebay.queues.contract import PlacedRecord, StoredRecord

NOTE_BYTES = 65_536
PLACE = [one.name for one in fields(Place)]

#: A note of a version that did not say what is needed.
OLDER = bytes.fromhex("464e03789c7bc1ceccc9c4b28689997d1f23230013fe027a")

#: Growing offsets with gaps, as transactions and compaction leave them.
offsets = st.lists(st.integers(1, 4), min_size=1, max_size=60).map(
    lambda steps: [100 + sum(steps[: at + 1]) for at in range(len(steps))]
)


def note_of(watermark: Watermark, max_bytes: int = NOTE_BYTES) -> bytes:
    return encode_note(watermark.position, watermark.finished_beyond(), max_bytes)


def after_restart(watermark: Watermark, max_bytes: int = NOTE_BYTES) -> Watermark:
    note = note_of(watermark, max_bytes)
    return Watermark(watermark.position, decode_note(watermark.position, note).runs)


@given(offsets, st.data())
def test_it_never_passes_an_unfinished_offset(received: list[int], data: st.DataObject) -> None:
    watermark, waiting = Watermark(100, []), list(received)
    unfinished: list[int] = []
    finished: set[int] = set()

    while waiting or unfinished:
        if waiting and (not unfinished or data.draw(st.booleans())):
            watermark.receive(waiting[0], 0)
            unfinished.append(waiting.pop(0))
        else:
            done = data.draw(st.sampled_from(unfinished))
            unfinished.remove(done)
            finished.add(done)
            watermark.finish(done)

        assert all(watermark.position <= offset for offset in unfinished + waiting)
        assert all(offset < watermark.position for offset in finished if offset < min(unfinished, default=offset))

    assert watermark.position == received[-1] + 1


@given(offsets, st.data())
def test_what_was_finished_is_not_handled_again_and_the_rest_is(received: list[int], data: st.DataObject) -> None:
    watermark = Watermark(100, [])
    known = data.draw(st.integers(0, len(received)))
    for offset in received[:known]:
        watermark.receive(offset, 0)
    finished = data.draw(st.sets(st.sampled_from(received[:known]))) if known else set()
    for offset in finished:
        watermark.finish(offset)

    # Twice: the second owner may die before it has even read as far as the first one was.
    second = after_restart(watermark)
    read_again = data.draw(st.integers(0, len(received)))
    for offset in received[:read_again]:
        second.receive(offset, 0)
    third = after_restart(second)

    again = [offset for offset in received if third.receive(offset, 0)]
    assert again == [offset for offset in received if offset not in finished]


some = st.sets(st.integers(100, 130))


@given(some, st.integers(100, 131), st.integers(100, 131), some)
@example({101, 105, 106, 109}, 131, 102, set())
@example({101, 103, 105, 106, 109}, 131, 106, set())
@example({101, 104, 105}, 131, 104, {103})
@example({101, 105, 106}, 103, 101, set())
@example({101, 102, 103}, 102, 104, {103})
def test_what_is_told_as_finished_was_so_and_all_of_it_is_told(
    inherited: set[int], forgotten_from: int, read_to: int, done: set[int]
) -> None:
    watermark = Watermark(100, runs_of(inherited))
    watermark.forget(forgotten_from)
    inherited = {offset for offset in inherited if offset < forgotten_from}

    to_handle = [offset for offset in range(100, read_to) if watermark.receive(offset, 0)]
    finished = done.intersection(to_handle)
    for offset in finished:
        watermark.finish(offset)

    assert to_handle == [offset for offset in range(100, read_to) if offset not in inherited]
    beyond = {offset for offset in inherited | finished if offset >= watermark.position}
    assert watermark.finished_beyond() == runs_of(beyond)


def runs_of(offsets: set[int]) -> list[Run]:
    starts = sorted(offset for offset in offsets if offset - 1 not in offsets)
    ends = sorted(offset + 1 for offset in offsets if offset + 1 not in offsets)
    return list(zip(starts, ends, strict=True))


@given(offsets, st.data(), st.integers(0, 40))
def test_a_note_too_long_forgets_the_highest_runs_first(
    received: list[int], data: st.DataObject, max_bytes: int
) -> None:
    watermark = Watermark(100, [])
    for offset in received:
        watermark.receive(offset, 0)
    finished = data.draw(st.sets(st.sampled_from(received)))
    for offset in finished:
        watermark.finish(offset)

    note = note_of(watermark, max_bytes)
    kept = decode_note(watermark.position, note).runs

    assert len(note) <= max_bytes
    assert kept == watermark.finished_beyond()[: len(kept)]


def test_thousands_of_scattered_offsets_fit_as_far_as_they_can() -> None:
    watermark, source = Watermark(0, []), random.Random(7)
    for offset in range(40_000):
        watermark.receive(offset, 0)
    for offset in range(1, 40_000):
        if source.random() < 0.6:
            watermark.finish(offset)

    runs = watermark.finished_beyond()
    kept = decode_note(0, note_of(watermark, 4096)).runs

    assert len(kept) > 2000
    assert kept == runs[: len(kept)]


def test_its_memory_is_that_of_the_unfinished_ones() -> None:
    watermark = Watermark(0, [])
    watermark.receive(0, 0)

    for offset in range(1, 100_000):
        watermark.receive(offset, 0)
        watermark.finish(offset)

    assert watermark.position == 0
    assert watermark.finished_beyond() == [(1, 100_000)]
    assert len(watermark._unfinished) == 1


def test_a_record_that_comes_a_second_time_is_not_handled_again() -> None:
    watermark = Watermark(0, [])
    watermark.receive(5, 0)

    assert not watermark.receive(5, 0)
    assert not watermark.receive(4, 0)


@pytest.mark.parametrize(
    ("committed", "note"),
    [
        (5, b"somebody else's"),
        (5, b"FN\x01xxxx"),
        (5, b"FN\x04xxxx"),
        (5, b"FN\x03not zlib"),
        (5, encode_note(5, [(7, 9)], 100)[:-2]),
        (6, encode_note(5, [(7, 9)], 100)),
        (5, b"FN\x03"),
        # Of another version, and of ours with too few numbers for the place and for a run, and with a part of one.
        (5, b"FN\x04" + zlib.compress(bytes((5, 1, 1, 1, 1, 1)))),
        (5, b"FN\x03" + zlib.compress(bytes((5, 1, 1, 1)))),
        (5, b"FN\x03" + zlib.compress(bytes((5, 1, 1, 1, 1, 1, 2)))),
        (5, b"FN\x03" + zlib.compress(bytes((5, 1, 1, 1, 1, 1, 0x81)))),
    ],
)
def test_a_foreign_broken_or_misplaced_note_is_refused(committed: int, note: bytes) -> None:
    with pytest.raises(UnreadableNote):
        decode_note(committed, note)


numbers = st.integers(0, 2**63 - 1) | st.sampled_from((0, 1, 127, 128, 129, 255, 256, 2**14))


@given(numbers, st.lists(st.tuples(numbers, numbers), max_size=4), st.builds(Place, **dict.fromkeys(PLACE, numbers)))
@example(128, [], Place())
@example(128, [], Place(end=1))
@example(127, [(1, 128), (128, 1)], Place(generation=128, position=127, in_force=256, orders=2**14, end=2**63 - 1))
def test_what_is_written_into_a_note_is_read_from_it(
    committed: int, steps: list[tuple[int, int]], place: Place
) -> None:
    runs: list[Run] = []
    for gap, length in steps:
        start = (runs[-1][1] if runs else committed) + gap
        runs.append((start, start + length))

    note = encode_note(committed, runs, NOTE_BYTES, place)

    assert decode_note(committed, note) == Note(runs=runs, place=place)
    assert needed_of(note) == place.needed
    assert bool(note) == bool(runs or place != Place())


def test_there_is_no_note_where_not_even_the_place_fits() -> None:
    assert encode_note(5, [(7, 9)], 8, Place(generation=1)) == b""


def test_a_note_that_says_nothing_of_the_end_of_the_parked_stream_is_read() -> None:
    note = bytes.fromhex("464e02789c7bc1ceccc9c4c2ccbe8f9111000d3a01cc")

    assert decode_note(1000, note) == Note(
        runs=[(1003, 1010), (1200, 1201)], place=Place(generation=3, position=9, in_force=2, orders=4)
    )


def test_what_is_needed_stands_behind_what_older_versions_read() -> None:
    runs, place = [(1003, 1010), (1200, 1201)], Place(generation=3, position=9, in_force=2, orders=4, end=300)

    note = encode_note(1000, runs, 1000, replace(place, needed=300))

    assert decode_note(1000, OLDER) == Note(runs=runs, place=place)
    assert needed_of(OLDER) == 0
    # They go as far as the zlib does.
    assert note[-2:] == b"\xac\x02"
    assert decode_note(1000, note[:-2]) == decode_note(1000, OLDER)
    assert needed_of(note) == 300


@pytest.mark.parametrize("behind", [b"\xac", b"\x07\x07", b"\0of12345678"])
def test_what_else_stands_behind_a_note_says_nothing(behind: bytes) -> None:
    note = OLDER + behind

    assert decode_note(1000, note).place.needed == 0
    assert needed_of(note) == needed_of(b"") == needed_of(behind) == 0


@given(st.binary(max_size=100), st.booleans())
def test_nothing_but_unreadable_note_comes_of_any_bytes(noise: bytes, with_prefix: bool) -> None:
    note = b"FN\x03" + noise if with_prefix else noise

    try:
        runs: list[Run] = decode_note(5, note).runs
    except UnreadableNote:
        return
    assert all(start <= end for start, end in runs)


@given(offsets, st.data())
def test_records_that_come_together_are_received_as_one_after_the_other(
    received: list[int], data: st.DataObject
) -> None:
    inherited = data.draw(st.sampled_from([[], [(103, 106)], [(101, 102), (140, 160)]]))
    again = data.draw(st.integers(0, len(received)))
    one_by_one, together = Watermark(100, list(inherited)), Watermark(100, list(inherited))
    batches = [received[:again], received[max(0, again - 3) :]]

    fresh = [[offset for offset in batch if one_by_one.receive(offset, offset)] for batch in batches]
    given = [[one.offset for one in together.receive_all(list(map(record_at, batch)))] for batch in batches if batch]

    assert given == [found for found, batch in zip(fresh, batches, strict=True) if batch]
    assert (together.position, together.unfinished) == (one_by_one.position, one_by_one.unfinished)
    assert (together.oldest_ms, note_of(together)) == (one_by_one.oldest_ms, note_of(one_by_one))


def record_at(offset: int) -> StoredRecord:
    return PlacedRecord(key="a", value=b"", timestamp_ms=offset, stream="events", partition=0, offset=offset)


@given(offsets, st.data())
def test_a_gap_behind_the_last_is_passed_once_all_is_finished_and_not_before(
    received: list[int], data: st.DataObject
) -> None:
    watermark, told_at = Watermark(100, []), data.draw(st.integers(0, 2 * len(received)))
    last, end = received[-1] + 1, received[-1] + 5
    steps: list[Callable[[], object]] = [partial(watermark.receive, offset, 0) for offset in received]
    steps += [partial(watermark.finish, offset) for offset in data.draw(st.permutations(received))]
    steps.insert(told_at, partial(watermark.gap, last, end))

    for step in steps:
        assert watermark.position < end
        step()

    assert (watermark.position, watermark.finished_beyond()) == (end, [])
    watermark.receive(end + 1, 0)
    assert watermark.position == end + 1


def test_a_gap_that_was_told_of_counts_no_more_once_a_record_came_behind_it() -> None:
    watermark = Watermark(100, [])
    watermark.gap(100, 104)
    first = watermark.position
    watermark.receive(104, 0)
    watermark.finish(104)

    assert (first, watermark.position) == (104, 105)


def test_what_was_finished_before_a_restart_up_to_a_gap_is_passed_with_it() -> None:
    watermark = Watermark(100, [(101, 103)])
    watermark.receive(100, 0)
    watermark.receive(101, 0)
    watermark.finish(100)
    watermark.gap(102, 105)

    assert (watermark.position, watermark.finished_beyond()) == (105, [])


def test_what_comes_behind_a_gap_over_several_runs_of_an_earlier_owner_is_handled() -> None:
    watermark = Watermark(100, [(101, 103), (104, 108), (200, 201)])

    assert [watermark.receive(offset, 0) for offset in (150, 200, 201)] == [True, False, True]


def test_what_came_after_a_commit_was_finished_by_nobody_before() -> None:
    watermark = Watermark(100, [(101, 103), (104, 108)])

    watermark.forget(105)

    assert [watermark.receive(offset, 0) for offset in range(100, 109)] == [
        *(True, False, False, True, False),
        *(True, True, True, True),
    ]
    assert watermark.position == 100
    watermark.finish(100)
    watermark.finish(103)
    assert (watermark.position, watermark.finished_beyond()) == (105, [])
