"""What is known of the portals goes along."""

import pytest

from forebay.console.moving.errors import CantMove
from forebay.console.moving.facts import known_by
from forebay.console.moving.telling import told_before
from forebay.queues.errors import QueueError, Unsupported
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals import facts
from forebay.queues.portals.contract import Fact, PortalStore
from forebay.queues.portals.facts import DATA_KEY, Key
from forebay.schemas import names
from tests.moving.records import GIVEN, TOPIC, A, a_record, commit, put, values
from tests.moving.sides import BreakingQueue, a_move, carried


async def know(queue: MemoryQueue, *facts: Fact) -> None:
    """Let it know that of the portals."""
    store = queue.portals(TOPIC)
    await store.ensure()
    await store.put(facts)


async def test_facts_go_along_in_their_order_and_what_was_taken_back_does_not(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await know(queue, Fact("m/1", b"1"), Fact("m/2", b"2"), Fact("m/3", b"3"), Fact("m/1", b"4"), Fact("m/3", None))
    await know(target, Fact("m/2", b"2"))

    await carried(a_move(queue, target, GIVEN))

    log = target.fact_logs[names.portals(TOPIC)]
    assert [(fact.key, fact.value) for fact in log.facts] == [("m/2", b"2"), ("m/1", b"4")]


async def test_a_target_that_knows_portals_of_its_own_is_refused(queue: MemoryQueue, target: MemoryQueue) -> None:
    await target.ensure(names.streams(TOPIC), 4)
    await know(queue, Fact("m/1", b"1"))
    await know(target, Fact("m/9", b"9"))

    with pytest.raises(QueueError, match="knows 1 facts about portals that the source doesn't"):
        await a_move(queue, target, GIVEN).plan()


def data_key(era: str, name: str) -> Fact:
    """A key for the secrets of a portal."""
    return facts.fact(Key("m", era, DATA_KEY, name), {"wrapped": facts.as_text(name.encode())})


async def known(queue: MemoryQueue) -> dict[str, bytes | None]:
    return {fact.key: fact.value for fact in (await known_by(queue, TOPIC)).facts}


async def test_keys_that_the_source_made_after_its_end_go_along_with_what_was_sealed_with_them(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await put(queue, TOPIC, a_record(A, 1))
    await know(queue, data_key("", "k1"))
    await carried(a_move(queue, target, GIVEN))
    commit(target, "forebay", A, 1, [])
    await know(target, Fact("m//home/2", b"there"))
    await put(queue, TOPIC, a_record(A, 2))
    await know(queue, data_key("", "k2"), Fact("m//home/1", b"here"), Fact("m//home/2", b"here"))

    move = a_move(queue, target, GIVEN)
    told = list(told_before(move, await move.plan()))
    sent, again = await carried(move), await carried(move)

    assert (sent, again) == (1, 0)
    assert await known(target) == dict([data_key("", "k1"), Fact("m//home/2", b"there"), data_key("", "k2")])
    assert told[-2].startswith("2 facts about portals that memory://old has learned since it was moved stay there")


async def test_a_key_that_was_shredded_in_the_target_stays_so(queue: MemoryQueue, target: MemoryQueue) -> None:
    await know(queue, data_key("", "k1"))
    await carried(a_move(queue, target, GIVEN))
    key, _ = data_key("", "k1")
    await know(target, Fact(key, None))
    await put(queue, TOPIC, a_record(A, 1))

    await carried(a_move(queue, target, GIVEN))

    assert await known(target) == {}
    assert values(target, A) == [1]


async def test_of_a_portal_that_was_forgotten_in_the_target_no_key_comes_again(
    queue: MemoryQueue, target: MemoryQueue
) -> None:
    await know(queue, data_key("", "k1"))
    await carried(a_move(queue, target, GIVEN))
    key, _ = data_key("", "k1")
    await know(target, facts.new_era("m", "e"), Fact(key, None))
    await know(queue, data_key("", "k2"), data_key("e", "k3"))
    await put(queue, TOPIC, a_record(A, 1))

    plan = await a_move(queue, target, GIVEN).plan()

    assert (plan.learned.facts, plan.learned.others) == ([data_key("e", "k3")], 1)


class _Unknowing(BreakingQueue):
    """Keeps nothing of portals."""

    def portals(self, topic: str) -> PortalStore:
        raise Unsupported("it can't keep what is known of portals")


async def test_a_queue_that_keeps_nothing_of_portals_is_a_source_and_a_target_as_long_as_none_are_known(
    queue: MemoryQueue,
) -> None:
    between, new = _Unknowing(), BreakingQueue()
    await put(queue, TOPIC, a_record(A, 1))

    await carried(a_move(queue, between, GIVEN))
    await carried(a_move(between, new, GIVEN))

    assert values(new, A) == [1]
    await know(queue, data_key("", "k1"))
    with pytest.raises(CantMove, match=r"memory://new keeps nothing of portals, and of 1 portal.*portals forget"):
        await a_move(queue, between, GIVEN, again=True).plan()


async def test_portals_that_were_forgotten_are_no_hindrance_where_nothing_is_kept_of_any(queue: MemoryQueue) -> None:
    target = _Unknowing()
    key, _ = data_key("", "k1")
    await know(queue, data_key("", "k1"), Fact(key, None), facts.new_era("m", "e"))
    await put(queue, TOPIC, a_record(A, 1))

    await carried(a_move(queue, target, GIVEN))

    assert values(target, A) == [1]
