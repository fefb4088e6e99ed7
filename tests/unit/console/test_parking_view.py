"""What commands read of parked portals: from a group's note, the parked stream and the orders."""

import pytest

from forebay.console.orders.parking_view import ParkingView, ends_of
from forebay.console.orders.trail import trail
from forebay.console.planning import Planned
from forebay.console.times import from_ms
from forebay.processors.notes import Place
from forebay.processors.parking.orders import What
from forebay.processors.parking.state import Reason, Replaying
from forebay.queues.contract import GroupState
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .by_hand import GROUP, HERE, TOPIC, A, B, Worker, order, order_writer, replay


async def look(view: ParkingView, worker: Worker, state: GroupState | None = None) -> None:
    inspector = worker.queue.inspector()
    await view.look(inspector, state or worker.committed, await ends_of(inspector, TOPIC))


async def view(worker: Worker, group: str = GROUP) -> ParkingView:
    made = ParkingView(topic=TOPIC, group=group, partition=HERE)
    await look(made, worker)
    return made


async def rows(worker: Worker) -> dict[str, dict[str, object]]:
    return {str(row["portal"]): row for row in [one.row() for one in (await view(worker)).waiting()]}


async def test_a_row_has_all_that_is_known(worker: Worker) -> None:
    await worker.tell(
        A,
        reason=Reason.FAILING,
        records=3,
        last=9,
        since_ms=1_772_366_400_000,
        due_ms=1_772_366_415_000,
        attempts=6,
        error="no stock",
        error_class="shop.NoStock",
    )

    assert (await rows(worker))[A] == {
        "portal": A,
        "partition": HERE,
        "group": GROUP,
        "reason": "failing",
        "records": 3,
        "since": "2026-03-01T12:00:00Z",
        "next_due": "2026-03-01T12:00:15Z",
        "attempts": 6,
        "error": "no stock",
        "error_class": "shop.NoStock",
        "held": False,
        "ordered": None,
    }


async def test_a_held_portal_has_no_next_time(worker: Worker) -> None:
    await worker.tell(A, is_held=True, due_ms=1_772_366_415_000)

    row = (await rows(worker))[A]

    assert (row["held"], row["next_due"]) == (True, None)


async def test_it_reads_from_where_the_note_says(worker: Worker) -> None:
    await worker.tell(A, records=3, last=9)
    await worker.claim()
    await worker.tell(B, records=2, last=9)
    worker.place = Place(generation=1, position=1, in_force=1)

    assert (await rows(worker)).keys() == {B}


async def test_a_note_that_can_not_be_read_lets_everything_be_read(worker: Worker) -> None:
    await worker.tell(A, records=3, last=9)
    made = ParkingView(topic=TOPIC, group=GROUP, partition=HERE)

    await look(made, worker, GroupState(offset=10, note=b"junk", owner=None))

    assert [one.records for one in made.waiting()] == [3]


async def test_a_later_look_goes_on_from_there(worker: Worker) -> None:
    await worker.spill(A, 4)
    made = await view(worker)
    before = [one.records for one in made.waiting()]
    await worker.spill(A, 5)
    await worker.spill(B, 6)

    await look(made, worker)
    middle = {one.portal: one.records for one in made.waiting()}
    await worker.tell(A)
    await look(made, worker)

    assert before == [1]
    assert middle == {A: 2, B: 1}
    assert [one.portal for one in made.waiting()] == [B]


@pytest.mark.parametrize("what", [What.HOLD, What.RESUME, What.DISCARD])
async def test_an_order_is_listed_until_a_worker_says_that_it_obeyed(worker: Worker, what: What) -> None:
    await worker.tell(A, records=1, last=9)
    order_a, order_b = await order(worker.queue, what), await order(worker.queue, what, B)
    before = await rows(worker)
    await worker.tell(A, records=1, last=9, orders=order_a.offset + 1)
    told = await rows(worker)
    worker.place = Place(orders=order_b.offset + 1)
    committed = await rows(worker)

    assert (before[A]["ordered"], before[B]["ordered"], before[B]["reason"]) == (what, what, None)
    assert (told[A]["ordered"], told[B]["ordered"]) == (None, what)
    assert committed.keys() == {A}


async def test_an_order_for_which_there_was_nothing_to_do_is_obeyed_when_the_commit_says_so(worker: Worker) -> None:
    made = await view(worker)
    resumed = await order(worker.queue, What.RESUME)
    await look(made, worker)
    before = [one.portal for one in made.waiting()]

    worker.place = Place(orders=resumed.offset + 1)
    await look(made, worker)

    assert before == [A]
    assert made.waiting() == []


async def test_an_order_that_freed_its_portal_is_obeyed(worker: Worker) -> None:
    await worker.tell(A, records=1, last=9)
    resumed = await order(worker.queue, What.RESUME)
    await worker.tell(A, orders=resumed.offset + 1)

    assert await rows(worker) == {}


async def test_what_is_replayed_counts_as_waiting(worker: Worker) -> None:
    begun = await replay(worker.queue, 1, 2, 3, 4, 5)
    await worker.tell(A, records=2, last=9, orders=begun.offset + 1, replays=[Replaying(order=begun.offset, done=3)])
    to_come = await replay(worker.queue, 8, 9)
    worker.place = Place(orders=begun.offset + 1)

    row = (await rows(worker))[A]

    assert to_come.offset > begun.offset
    assert (row["records"], row["ordered"]) == (2 + 2 + 2, "replay")


async def test_what_only_marks_letters_is_nothing_that_waits(worker: Worker) -> None:
    planned = Planned(portal=A, partition=HERE, group=GROUP, stream=names.dead(TOPIC))
    planned.add(1, 1)
    await order_writer(worker.queue).put_all(planned, What.DISCARD)
    await order(worker.queue, What.HOLD, group="another")

    assert await rows(worker) == {}


async def test_portals_are_chosen_by_name_and_reason(worker: Worker) -> None:
    await worker.tell(A, records=1, last=9, reason=Reason.FLOODING)
    await worker.tell(B, records=1, last=9)
    made = await view(worker)

    assert [one.portal for one in made.waiting(portal=B)] == [B]
    assert [one.portal for one in made.waiting(reason="flooding")] == [A]
    assert made.waiting(portal="nobody.example") == []
    assert (await view(worker, group="another")).waiting() == []


async def test_the_trail_tells_who_did_what_when_and_why(worker: Worker) -> None:
    other = next(f"c{number}.example" for number in range(99) if partition_of(f"c{number}.example", 4) != HERE)
    await order_writer(worker.queue, "boris@host", at_ms=3000).put(other, What.HOLD, GROUP, partition_of(other, 4))
    await order(worker.queue, What.RESUME)
    await replay(worker.queue, 1, 2, 5)

    shown = await trail(worker.queue.inspector(), TOPIC, None, None, None)
    of_portal = await trail(worker.queue.inspector(), TOPIC, other, None, None)
    since = await trail(worker.queue.inspector(), TOPIC, None, from_ms(8), None)
    before = await trail(worker.queue.inspector(), TOPIC, None, from_ms(7), from_ms(3000))

    assert shown[1] == {
        "at": "1970-01-01T00:00:00.007000Z",
        "who": "anna@host",
        "what": "replay",
        "portal": A,
        "group": GROUP,
        "stream": names.dead(TOPIC),
        "records": 3,
        "why": "a test",
        "partition": HERE,
        "offset": 1,
    }
    assert [(row["what"], row["records"]) for row in shown] == [("resume", None), ("replay", 3), ("hold", None)]
    assert [row["who"] for row in of_portal] == ["boris@host"]
    assert [row["what"] for row in since] == ["hold"]
    assert [row["what"] for row in before] == ["resume", "replay"]
