from collections.abc import Callable
from dataclasses import replace

import pytest

from forebay.console.traffic.send_audit import Audit, check
from forebay.queues.contract import PlacedRecord, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.schemas.event import Body, PortalEvent
from forebay.schemas.names import BY_FOREBAY, GAP

TOPIC = "bitrix24.events"
NUMBERS: dict[tuple[str, str | None], int] = {("one.bitrix24.example", "m1"): 0}
Event = Callable[..., PortalEvent]
Make = Callable[..., Record]


def audit_of(accepted: list[int]) -> Audit:
    return Audit(accepted={f"id-{number}": (0, number) for number in accepted}, numbers=NUMBERS)


def show(audit: Audit, *records: Record) -> Audit:
    for offset, record in enumerate(records):
        stored = PlacedRecord(
            key=record.key, value=record.value, timestamp_ms=0, stream=TOPIC, partition=0, offset=offset
        )
        audit.see(stored)
    return audit


def test_what_stands_in_order_is_clean(event: Event, record: Make) -> None:
    audit = show(audit_of([1, 2, 3]), *(record(event(number)) for number in (1, 2, 3)))

    assert audit.clean
    assert (audit.lost, audit.out_of_order, audit.twice, audit.changed) == (0, 0, 0, 0)


def test_an_accepted_event_that_is_not_there_is_lost(event: Event, record: Make) -> None:
    audit = show(audit_of([1, 2, 3]), record(event(1)), record(event(3)))

    assert audit.lost == 1
    assert not audit.clean


def test_an_accepted_event_behind_a_later_one_is_out_of_order(event: Event, record: Make) -> None:
    audit = show(audit_of([1, 2, 3]), *(record(event(number)) for number in (1, 3, 2)))

    assert audit.out_of_order == 1
    assert not audit.clean


def test_an_event_that_was_never_answered_may_come_late_but_nothing_accepted_may_come_after_what_followed_it(
    event: Event, record: Make
) -> None:
    unanswered_late = show(audit_of([1, 3]), *(record(event(number)) for number in (1, 3, 2)))
    accepted_late = show(audit_of([1]), *(record(event(number)) for number in (2, 1)))

    assert unanswered_late.clean
    assert accepted_late.out_of_order == 1


def test_the_same_id_again_is_counted_and_is_no_disorder(event: Event, record: Make) -> None:
    audit = show(audit_of([1, 2]), *(record(event(number)) for number in (1, 2, 1)))

    assert audit.clean
    assert audit.twice == 1


def test_an_event_under_a_foreign_id_or_unreadable_is_changed(event: Event, record: Make) -> None:
    foreign = show(audit_of([1, 2]), record(replace(event(2), id="id-1")))
    unreadable = show(audit_of([]), Record(key="one.bitrix24.example", value=b"junk", timestamp_ms=0))

    assert foreign.changed == 1
    assert unreadable.changed == 1


def test_events_of_other_runs_are_nobodys_business(event: Event, record: Make) -> None:
    audit = show(audit_of([]), record(event(9, member_id="another run")), record(event(1, "else.example")))

    assert audit.clean
    assert audit.seen == set()


def test_a_marker_of_a_gap_is_no_event_of_the_portal(event: Event, record: Make) -> None:
    marker = replace(event(0, name=GAP), source=BY_FOREBAY, body=lambda: Body(fields={"event": GAP}))

    audit = show(audit_of([1, 2]), *map(record, (event(1), marker, event(2))))

    assert audit.clean


async def test_the_check_waits_for_what_is_on_its_way_and_gives_up_when_nothing_comes(
    queue: MemoryQueue, event: Event, record: Make
) -> None:
    audit, passed = audit_of([1, 2, 3]), [0.0]
    on_its_way = [record(event(1)), record(event(2))]

    async def sleep(seconds: float) -> None:
        passed[0] += seconds
        if on_its_way:
            await queue.producer().send(TOPIC, on_its_way.pop(0))

    told: list[int] = []

    await check(
        audit, queue.inspector(), TOPIC, {}, told=told.append, patience_s=2, clock=lambda: passed[0], sleep=sleep
    )

    assert told == [1, 2]
    assert audit.seen == {"id-1", "id-2"}
    assert audit.lost == 1
    assert 2.0 < passed[0] < 4.0


async def test_a_queue_that_does_not_answer_for_a_moment_is_asked_again(
    queue: MemoryQueue, event: Event, record: Make
) -> None:
    audit, passed = audit_of([1, 2]), [0.0]
    for number in (1, 2):
        await queue.producer().send(TOPIC, record(event(number)))
    queue.down = True

    async def sleep(seconds: float) -> None:
        # Longer than its patience, as an answer takes that is waited for in vain.
        passed[0] += 10.0
        queue.down = False

    await check(audit, queue.inspector(), TOPIC, {}, patience_s=2.0, clock=lambda: passed[0], sleep=sleep)

    assert audit.clean
    assert audit.twice == 0


async def test_a_queue_that_stays_away_is_told(queue: MemoryQueue) -> None:
    passed = [0.0]
    queue.down = True

    async def sleep(seconds: float) -> None:
        passed[0] += seconds

    with pytest.raises(QueueUnavailable):
        await check(audit_of([1]), queue.inspector(), TOPIC, {}, patience_s=2.0, clock=lambda: passed[0], sleep=sleep)

    assert 2.0 < passed[0] < 4.0
