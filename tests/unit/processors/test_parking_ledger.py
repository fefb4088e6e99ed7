"""What counts of the entries of the parked stream, and what does not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.processors.notes import Place
from forebay.processors.parking import entries
from forebay.processors.parking.ledger import Ledger
from forebay.processors.parking.portal import ParkedPortal
from forebay.processors.parking.state import FIRST, PortalState
from forebay.processors.parking.stream import key_in
from forebay.queues.contract import PlacedRecord, Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.portal import partition_of

PORTAL, GROUP, TOPIC = "p.example", "shop", "events"

#: A spilled record in short: its offset, the one before it, and the generation of who wrote it.
Short = tuple[int, int, int]


def placed(record: Record | StoredRecord, position: int) -> StoredRecord:
    return PlacedRecord(
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp_ms,
        headers=tuple(record.headers),
        stream=names.parked(TOPIC),
        partition=0,
        offset=position,
    )


def event(offset: int) -> StoredRecord:
    return PlacedRecord(
        key=PORTAL, value=b"%d" % offset, timestamp_ms=offset, stream=TOPIC, partition=0, offset=offset, headers=()
    )


def log_of(spilled: list[Short]) -> list[StoredRecord]:
    return [
        placed(entries.spill(event(offset), (GROUP, generation), after, 0), position)
        for position, (offset, after, generation) in enumerate(spilled)
    ]


def read(log: list[StoredRecord], ledger: Ledger | None = None) -> Ledger:
    ledger = ledger or Ledger()
    for record in log:
        if (entry := entries.read(record, GROUP)) is not None:
            ledger.read(entry)
    return ledger


def loaded(log: list[StoredRecord], state: PortalState) -> list[int]:
    """The offsets of what would be handled, in order."""
    portal = ParkedPortal(PORTAL, state)
    taken = [portal.take(record, TOPIC, GROUP) for record in log if record.offset >= portal.load]
    return [one.offset for one in taken if one is not None]


@pytest.mark.parametrize(
    ("spilled", "counts"),
    [
        ([(3, FIRST, 1), (5, 3, 1), (9, 5, 1)], [3, 5, 9]),
        # A copy, as of a record that was told as refused and kept all the same.
        ([(3, FIRST, 1), (5, 3, 1), (5, 3, 1), (9, 5, 1)], [3, 5, 9]),
        # The second was not kept; what stood behind it was sent again with it.
        ([(3, FIRST, 1), (9, 5, 1), (5, 3, 1), (9, 5, 1)], [3, 5, 9]),
        # Who begins anew has finished what was before.
        ([(3, FIRST, 1), (5, 3, 1), (9, FIRST, 1), (12, 9, 1)], [9, 12]),
        # Behind nothing that is known.
        ([(5, 3, 1), (9, 5, 1)], []),
    ],
)
def test_of_copies_one_counts_and_none_behind_a_gap(spilled: list[Short], counts: list[int]) -> None:
    log = log_of(spilled)
    known = read(log).portals.get(PORTAL)

    assert (known.state.records if known else 0) == len(counts)
    assert (loaded(log, known.state) if known else []) == counts


#: A batch on its way to the stream: which of its records are kept, and of how many the writer is told.
batches = st.lists(st.tuples(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(0, 5)), max_size=12)


@given(st.integers(1, 12), batches)
def test_however_often_records_are_sent_again_each_is_loaded_once_and_in_order(
    number: int, batches: list[tuple[list[bool], int]]
) -> None:
    offsets = [7 + 3 * at for at in range(number)]
    spilled: list[Short] = []
    known = 0
    for batch, told in [*batches, ([True] * number, number)]:
        sent = list(zip(range(known, number), batch, strict=False))
        spilled += [(offsets[at], offsets[at - 1] if at else FIRST, 1) for at, is_kept in sent if is_kept]
        whole = next((place for place, (_, is_kept) in enumerate(sent) if not is_kept), len(sent))
        known += min(told, whole)
    log = log_of(spilled)
    state = read(log).portals[PORTAL].state

    assert loaded(log, state) == offsets
    assert state.records == number


@given(st.integers(0, 3), st.integers(1, 6), st.data())
def test_in_a_copy_that_lacks_the_beginning_all_that_waits_is_found(before: int, number: int, data: Any) -> None:
    done = data.draw(st.integers(0, number - 1))
    offsets = [7 + 3 * at for at in range(number)]
    # A life of which nothing waits any more, with the same offsets: the group was moved back since.
    log = log_of(chain(offsets[:before]))
    log.append(placed(entries.statement(PORTAL, PortalState(last=offsets[0]), (GROUP, 1), 0), len(log)))
    start = len(log)
    log += [placed(record, start + record.offset) for record in log_of(chain(offsets))]
    state = PortalState(
        next=start + done, after=([FIRST, *offsets])[done], last=offsets[-1], records=number - done, orders=40
    )
    log.append(placed(entries.statement(PORTAL, state, (GROUP, 1), 0), len(log)))
    lacking = data.draw(st.integers(0, start + done))

    copy = [placed(record, record.offset - lacking) for record in log[lacking:]]
    ledger = read(copy, Ledger.at(Place()))
    ledger.know_orders(8)

    known = ledger.portals[PORTAL].state
    assert loaded(copy, known) == offsets[done:]
    assert (known.orders, ledger.obeyed[PORTAL]) == (8, 8)


def test_who_begins_anew_finds_what_waits_and_not_what_was_finished_before_it() -> None:
    log = log_of([(3, FIRST, 1), (5, 3, 1), (9, FIRST, 1), (12, 9, 1)])
    state = PortalState(next=2, last=12, records=2)
    log.append(placed(entries.statement(PORTAL, state, (GROUP, 1), 0), 4))

    known = read(log, Ledger.at(Place())).portals[PORTAL].state

    assert loaded(log, known) == [9, 12]


def test_in_a_copy_that_lacks_all_that_waits_what_came_later_is_found() -> None:
    state = PortalState(next=50, last=12, records=3)
    log = [placed(entries.statement(PORTAL, state, (GROUP, 1), 0), 0)]
    log.append(placed(entries.spill(event(15), (GROUP, 1), 12, 0), 1))

    portal = ParkedPortal(PORTAL, read(log, Ledger.at(Place())).portals[PORTAL].state)
    portal.give_up_lost()

    assert portal.load <= 1
    assert [one and one.offset for one in (portal.take(record, TOPIC, GROUP) for record in log)] == [None, 15]


def test_what_is_parked_of_a_held_portal_leaves_it_held() -> None:
    log = [placed(entries.statement(PORTAL, PortalState(is_held=True), (GROUP, 1), 0), 0)]
    log.append(placed(entries.spill(event(3), (GROUP, 1), FIRST, 0), 1))

    known = read(log).portals[PORTAL].state

    assert (known.is_held, known.records) == (True, 1)


def test_what_was_parked_once_is_settled_also_where_its_portal_waits_for_something_else() -> None:
    told = PortalState(last=9), PortalState(is_held=True)
    log = [placed(entries.statement(PORTAL, one, (GROUP, 1), 0), position) for position, one in enumerate(told)]

    assert read(log).settled == {PORTAL: 9}


def test_where_some_are_gone_what_came_again_behind_them_is_loaded() -> None:
    spilled = [(7, FIRST, 0), (8, 7, 0), (9, 8, 0), (6, 9, 1), (7, 6, 1)]
    log = [
        placed(entries.spill(event(offset), (GROUP, 1), after, 0, lap=lap), position)
        for position, (offset, after, lap) in enumerate(spilled)
    ]
    state = read(log).portals[PORTAL].state
    portal = ParkedPortal(PORTAL, state)
    portal.give_up_lost()

    taken = [portal.take(log[position], TOPIC, GROUP) for position in (1, 3, 4)]

    assert (state.records, state.newest, state.lap) == (5, (1, 7), 1)
    assert [one and one.offset for one in taken] == [8, 6, 7]


def test_what_nobody_knows_to_be_kept_is_not_what_comes_next_when_something_else_came_again() -> None:
    state = PortalState(last=8, records=2)
    state.come_again(5)
    written = [
        *(entries.spill(event(offset), (GROUP, 1), after, 0) for offset, after in ((7, FIRST), (8, 7), (9, 8))),
        entries.statement(PORTAL, state, (GROUP, 1), 0),
        *(entries.spill(event(offset), (GROUP, 1), after, 0, lap=1) for offset, after in ((5, 8), (6, 5))),
    ]
    log = [placed(record, position) for position, record in enumerate(written)]

    known = read(log).portals[PORTAL].state

    assert (known.records, known.newest) == (4, (1, 6))
    assert loaded(log, known) == [7, 8, 5, 6]


def chain(offsets: list[int]) -> list[Short]:
    return [(offset, after, 1) for offset, after in zip(offsets, [FIRST, *offsets], strict=False)]


def test_entries_of_an_earlier_owner_behind_the_claim_of_a_later_one_say_nothing() -> None:
    log = log_of([(3, FIRST, 1)])
    log.append(placed(entries.claim(PORTAL, (GROUP, 2), 4, 0), 1))
    log += [placed(entries.spill(event(5), (GROUP, 1), 3, 0), 2)]
    log += [placed(entries.statement(PORTAL, PortalState(), (GROUP, 1), 0), 3)]
    log += [placed(entries.claim(PORTAL, (GROUP, 1), 9, 0), 4)]

    ledger = read(log)

    assert (ledger.generation, ledger.orders) == (2, 4)
    assert ledger.portals[PORTAL].state.records == 1


def test_another_group_s_entries_and_noise_say_nothing() -> None:
    log = [placed(entries.spill(event(3), ("another", 9), FIRST, 0), 0)]
    log += [placed(Record(key=PORTAL, value=b"noise", timestamp_ms=0), 1)]
    wrong = entries.statement(PORTAL, PortalState(), (GROUP, 1), 0)
    log += [placed(Record(key=PORTAL, value=b"{", timestamp_ms=0, headers=wrong.headers), 2)]

    assert read(log) == Ledger()


@given(st.integers(1, 60), st.data())
def test_each_partition_has_a_key_of_ours(partitions: int, data: Any) -> None:
    number = data.draw(st.integers(0, partitions - 1))

    assert partition_of(key_in(number, partitions), partitions) == number
