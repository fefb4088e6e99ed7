"""What a move takes along, what it refuses, and what happens when it is run again."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from forebay.console.moving.errors import CantMove, NotStill
from forebay.console.moving.lacking import What
from forebay.console.moving.move import Move
from forebay.console.ordering import Orderer, Stop
from forebay.console.planning import Planned
from forebay.console.settings import Settings
from forebay.processors.notes import encode_note
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What as Ordered
from forebay.processors.parking.state import PortalState, Replaying
from forebay.queues.contract import Commit, Delivery, Position, Producer, Record, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryConsumer, MemoryProducer, MemoryQueue
from forebay.queues.portals.contract import Fact
from forebay.schemas import names
from forebay.schemas.portal import partition_of
from tests.moving.sides import BreakingQueue, a_move, carried, no_sleep

TOPIC = "bitrix24.events"
A, B = "a.example", "b.example"
GIVEN = Settings(partitions=4)
DAY_MS = 86_400_000


def a_record(portal: str, number: int) -> Record:
    return Record(key=portal, value=b"%s %d" % (portal.encode(), number), timestamp_ms=number, headers=(("h", b"x"),))


async def put(queue: MemoryQueue, stream: str, *records: Record) -> list[Position]:
    producer = MemoryProducer(queue)
    return [await producer.send(stream, record) for record in records]


def commit(queue: MemoryQueue, group: str, portal: str, offset: int, runs: list[tuple[int, int]]) -> None:
    """The group has finished what stands before the offset in the portal's partition, and the runs behind it."""
    note = encode_note(offset, runs, 1000)
    number = partition_of(portal, len(queue.logs[TOPIC]))
    queue.group_states[TOPIC, group].commits[number] = Commit(offset=offset, note=note)


def there(queue: MemoryQueue, stream: str = TOPIC) -> list[StoredRecord]:
    return [record for log in queue.logs.get(stream, ()) for record in log]


def values(queue: MemoryQueue, portal: str) -> list[int]:
    """The numbers of the portal's events, in their order."""
    return [int(one.value.split()[1]) for one in there(queue) if one.key == portal]


@pytest.fixture
def target() -> BreakingQueue:
    return BreakingQueue()


async def test_what_a_group_has_finished_stays_and_the_rest_goes_as_it_is(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(8)))
    commit(queue, "forebay", A, 2, [(3, 5), (6, 7)])

    sent = await carried(a_move(queue, target, GIVEN, partitions=7))

    assert sent == 3
    assert values(target, A) == [2, 5, 7]
    (first, *_) = there(target)
    assert (first.timestamp_ms, first.headers, first.partition) == (2, (("h", b"x"),), partition_of(A, 7))


async def test_more_partitions_keep_the_order_of_each_portal(queue: MemoryQueue, target: MemoryQueue) -> None:
    portals = [f"{number}.example" for number in range(40)]
    for number in range(30):
        await put(queue, TOPIC, *(a_record(portal, number) for portal in portals))

    await carried(a_move(queue, target, GIVEN, partitions=11))

    assert all(values(target, portal) == list(range(30)) for portal in portals)


async def test_open_letters_go_to_their_streams_and_what_was_dealt_with_stays(
    queue: MemoryQueue, target: MemoryQueue, dead_record: Callable[..., Record], event: Callable[..., object]
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(10)))
    commit(queue, "forebay", A, 10, [])
    here = partition_of(A, 4)
    place = ((names.DEAD_PARTITION, b"%d" % here), (names.DEAD_OFFSET, b"7"))
    open_one, dealt_with = (dead_record(event(number, portal=A)) for number in (1, 2))
    open_one = replace(open_one, headers=(*open_one.headers, *place))
    placed = await put(queue, names.dead(TOPIC), dealt_with, open_one)
    await put(queue, names.quarantine(TOPIC), a_record(B, 1))
    named = Planned(portal=A, partition=here, group="forebay", stream=names.dead(TOPIC))
    named.add(placed[0].offset, 0)
    orderer = Orderer(producer=queue.producer(), topic=TOPIC, who="", why="")
    await orderer.put_all(named, Ordered.DISCARD)

    await carried(a_move(queue, target, GIVEN))

    assert there(target) == []
    (letter,) = there(target, names.dead(TOPIC))
    (call,) = there(target, names.quarantine(TOPIC))
    moved = dict(letter.headers)
    # Three before the end of the old topic: no event of the new one stands there.
    assert moved.pop(names.DEAD_OFFSET) == b"-3"
    assert moved == {name: value for name, value in open_one.headers if name != names.DEAD_OFFSET}
    assert (letter.value, call.value) == (open_one.value, a_record(B, 1).value)


async def test_a_replay_that_is_under_way_goes_ahead_of_what_is_parked_and_of_what_is_behind(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    orderer = Orderer(producer=queue.producer(), topic=TOPIC, who="", why="")
    named = Planned(portal=A, partition=partition_of(A, 4), group="forebay", stream=TOPIC)
    for offset in (0, 1, 2):
        named.add(offset, offset)
    (order,) = await orderer.put_all(named, Ordered.REPLAY)
    spilled = entries.spill(there(queue)[4], ("forebay", 1), -1, 5)
    state = PortalState(
        records=1, next=0, last=4, replays=[Replaying(order=order.offset, done=1)], orders=order.offset + 1
    )
    told = entries.statement(A, state, ("forebay", 1), 5)
    await put(queue, names.parked(TOPIC), spilled, told)
    commit(queue, "forebay", A, 5, [])

    plan = await a_move(queue, target, GIVEN).plan()
    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [1, 2, 4, 5]
    assert {what: amount.records for what, amount in plan.amounts.items()} == {
        What.REPLAYED: 2,
        What.PARKED: 1,
        What.EVENTS: 1,
    }
    assert {name for one in there(target) for name, _ in one.headers} == {"h"}


async def test_a_portal_that_is_held_is_held_there_too(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, names.parked(TOPIC), entries.statement(A, PortalState(is_held=True), ("forebay", 1), 1))

    await carried(a_move(queue, target, GIVEN))

    (order,) = there(target, names.audit(TOPIC))
    assert order.key == A
    assert b'"what":"hold"' in order.value


async def test_several_groups_that_have_finished_different_events_are_refused_until_one_is_named(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(5)))
    commit(queue, "forebay", A, 2, [])
    commit(queue, "audit", A, 4, [])

    with pytest.raises(CantMove, match=r"audit: 1 not finished\n  - forebay: 3 not finished"):
        await a_move(queue, target, GIVEN).plan()
    with pytest.raises(CantMove, match="has no such group, but audit, forebay"):
        await replace(a_move(queue, target, GIVEN), group="forbay").plan()
    named = await replace(a_move(queue, target, GIVEN), group="audit").plan()
    commit(queue, "audit", A, 2, [])
    same = await a_move(queue, target, GIVEN).plan()

    assert (named.records, [lack.group for lack in named.chosen.others]) == (1, ["forebay"])
    assert (same.records, same.chosen.others) == (3, [])


async def test_a_group_of_the_settings_that_was_never_there_is_not_taken_for_the_one_that_was(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))
    commit(queue, "shop", A, 1, [])

    with pytest.raises(CantMove, match=r"forebay: 2 not finished \(it was never there\)"):
        await a_move(queue, target, GIVEN).plan()


async def test_run_again_after_its_end_it_moves_nothing_even_when_the_target_was_emptied(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await carried(a_move(queue, target, GIVEN))
    target.logs[TOPIC] = [[] for _ in range(4)]

    sent = await carried(a_move(queue, target, GIVEN))
    with pytest.raises(CantMove, match="was moved to memory://new"):
        await carried(a_move(queue, BreakingQueue(), GIVEN, name="memory://third"))
    again = await carried(a_move(queue, target, GIVEN, again=True))

    assert (sent, again) == (0, 1)


async def test_what_came_into_the_source_after_its_end_is_moved_alone(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(B, 1))
    await put(queue, names.dead(TOPIC), a_record(A, 5))
    await carried(a_move(queue, target, GIVEN))
    for portal in (A, B):
        commit(target, "forebay", portal, 1 + (partition_of(A, 4) == partition_of(B, 4)), [])
    await put(queue, TOPIC, a_record(A, 2))

    sent = await carried(a_move(queue, target, GIVEN))

    assert sent == 1
    assert (values(target, A), values(target, B)) == ([1, 2], [1])
    assert len(there(target, names.dead(TOPIC))) == 1


async def test_it_is_refused_while_something_waits_in_the_target(queue: MemoryQueue, target: MemoryQueue) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))
    await put(target, TOPIC, a_record(A, 7))

    with pytest.raises(NotStill, match="memory://new has events that group forebay has not finished"):
        await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 1, [])
    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [7, 1]


async def test_it_is_not_gone_on_with_when_something_else_wrote_into_the_target(
    queue: MemoryQueue, target: BreakingQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(4)))
    target.takes = 2
    with pytest.raises(QueueUnavailable):
        await carried(a_move(queue, target, GIVEN))
    target.takes = None
    await put(target, TOPIC, a_record(A, 99))

    with pytest.raises(CantMove, match="has 1 records since the move began that don't wait in memory://old"):
        await carried(a_move(queue, target, GIVEN))


@pytest.mark.parametrize("side", ["source", "target"])
async def test_it_is_refused_while_a_worker_runs_on_a_side(queue: MemoryQueue, target: MemoryQueue, side: str) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))
    group = (queue if side == "source" else target).group_states[TOPIC, "forebay"]
    group.owners[2] = MemoryConsumer(queue, TOPIC, "forebay")

    with pytest.raises(NotStill, match=r"workers of group forebay run on memory://\w+, with partitions 2"):
        await carried(a_move(queue, target, GIVEN))

    assert there(target) == []


@pytest.mark.parametrize("side", ["source", "target"])
async def test_it_is_refused_when_something_is_written_on_a_side_before_it_begins(
    queue: MemoryQueue, target: MemoryQueue, side: str
) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await put(queue, TOPIC, a_record(A, 1))

    async def write(_: float) -> None:
        await put(queue if side == "source" else target, TOPIC, a_record(B, 1))

    with pytest.raises(NotStill, match="is written to"):
        await carried(replace(a_move(queue, target, GIVEN), sleep=write))

    assert values(target, A) == []


class _Listening(MemoryProducer):
    """Does something before each record."""

    def __init__(self, queue: MemoryQueue, before: Callable[[Record], None]) -> None:
        super().__init__(queue)
        self._before = before

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        self._before(record)
        super().submit(stream, record, delivery)


class _ListeningQueue(MemoryQueue):
    def __init__(self, before: Callable[[Record], None]) -> None:
        super().__init__()
        self._before = before

    def producer(self) -> Producer:
        return _Listening(self, self._before)


async def test_what_comes_into_the_source_meanwhile_is_told_and_moved_by_the_next_run(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1), a_record(A, 2))

    def before(record: Record) -> None:
        if record.value.endswith(b"2"):
            delivered: list[Position] = []
            MemoryProducer(queue).submit(TOPIC, a_record(A, 3), _Told(delivered))

    target = _ListeningQueue(before)
    with pytest.raises(CantMove, match="memory://old was written to meanwhile"):
        await carried(a_move(queue, target, GIVEN))
    sent = await carried(a_move(queue, target, GIVEN))

    assert sent == 1
    assert values(target, A) == [1, 2, 3]


class _Told:
    def __init__(self, into: list[Position]) -> None:
        self._into = into

    def done(self) -> bool:
        return False

    def set_result(self, position: Position, /) -> None:
        self._into.append(position)

    def set_exception(self, error: QueueError, /) -> None:
        raise error


async def test_a_record_that_is_refused_leaves_no_gap_before_what_was_sent(queue: MemoryQueue) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))

    def before(record: Record) -> None:
        if record.value.endswith(b" 3"):
            raise RecordRefused("it is too large")

    target = _ListeningQueue(before)
    with pytest.raises(RecordRefused, match=r"an event of a\.example, 11 bytes: it is too large"):
        await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [0, 1, 2]


async def test_it_stops_between_two_events_when_it_is_told_to_and_goes_on(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, *(a_record(A, number) for number in range(6)))
    stop, move = Stop(), a_move(queue, target, GIVEN)

    def sent(count: int) -> None:
        if len(there(target)) == 2:
            stop.ask()

    await move.carry_out(await move.plan(), stop, sent)
    first = values(target, A)
    plan = await move.plan()
    await carried(move)

    assert first == [0, 1]
    assert (plan.records, plan.there) == (6, 2)
    assert values(target, A) == list(range(6))


async def test_a_stop_while_it_watches_leaves_both_queues_as_they_were(queue: MemoryQueue, target: MemoryQueue) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    stop, move = Stop(), replace(a_move(queue, target, GIVEN), sleep=None)
    stop.ask()

    await move.carry_out(await move.plan(), stop, lambda count: None)

    assert there(target) == there(queue, names.audit(TOPIC)) == []


def know(queue: MemoryQueue, *facts: Fact) -> Callable[[], object]:
    """What is known of the portals."""

    async def put() -> None:
        store = queue.portals(TOPIC)
        await store.ensure()
        await store.put(facts)

    return put


async def test_facts_go_along_in_their_order_and_what_was_taken_back_does_not(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await know(queue, Fact("m/1", b"1"), Fact("m/2", b"2"), Fact("m/3", b"3"), Fact("m/1", b"4"), Fact("m/3", None))()
    await know(target, Fact("m/2", b"2"))()

    await carried(a_move(queue, target, GIVEN))

    log = target.fact_logs[names.portals(TOPIC)]
    assert [(fact.key, fact.value) for fact in log.facts] == [("m/2", b"2"), ("m/1", b"4")]


async def test_a_target_that_knows_portals_of_its_own_is_refused(queue: MemoryQueue, target: MemoryQueue) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await know(queue, Fact("m/1", b"1"))()
    await know(target, Fact("m/9", b"9"))()

    with pytest.raises(QueueError, match="knows 1 facts about portals that the source doesn't"):
        await a_move(queue, target, GIVEN).plan()


class _Forgetful(MemoryQueue):
    """Takes records of the topic that are older than a week."""

    async def keeps_ms(self, stream: str) -> int | None:
        return 7 * DAY_MS if stream == TOPIC else None


@pytest.mark.parametrize(("age_ms", "is_taken"), [(6.5 * DAY_MS, True), (5.5 * DAY_MS, False)])
async def test_what_the_target_would_take_before_it_is_handled_is_refused(
    queue: MemoryQueue, age_ms: float, *, is_taken: bool
) -> None:
    await put(queue, TOPIC, replace(a_record(A, 1), timestamp_ms=1000 * DAY_MS))
    await put(queue, names.dead(TOPIC), a_record(A, 0))
    target = _Forgetful()
    move: Move = replace(a_move(queue, target, GIVEN), now_ms=lambda: 1000 * DAY_MS + int(age_ms))

    try:
        await carried(move)
    except CantMove as refused:
        assert "keeps records for 7 days from their own time (retention.ms=604800000)" in str(refused)
        assert "--entity-name bitrix24.events --add-config retention.ms=-1" in str(refused)

    assert (there(target) == []) is is_taken


async def test_a_queue_is_no_target_of_itself(queue: MemoryQueue) -> None:
    with pytest.raises(CantMove, match="is the source and the target"):
        await replace(a_move(queue, queue, GIVEN, name="memory://old"), sleep=no_sleep).plan()
