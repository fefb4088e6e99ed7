"""What is known of the portals goes along."""

import pytest

from forebay.queues.errors import QueueError
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.contract import Fact
from forebay.schemas import names
from tests.moving.records import GIVEN, TOPIC
from tests.moving.sides import a_move, carried


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
