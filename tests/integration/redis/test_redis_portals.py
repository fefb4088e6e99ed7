"""What Redis keeps of portals, and for how long."""

from forebay.queues.contract import Queue
from forebay.queues.portals.contract import Fact, PlacedFact
from forebay.schemas import names
from tests.redis.server import direct


async def test_what_was_taken_back_long_ago_is_forgotten_at_a_start_and_nothing_else(url: str, queue: Queue) -> None:
    store = queue.portals("topic")
    await store.ensure()
    await store.put([Fact("here", b"1"), Fact("gone", b"2"), Fact("back", b"3")])
    await store.put([Fact("gone", None), Fact("back", None)])
    await store.put([Fact("back", b"4"), Fact("just gone", None)])
    before = (await store.read(0, 0.0)).facts
    with direct(url) as admin:
        keys = f"forebay:{{{names.portals('topic')}}}:"
        admin.zadd(f"{keys}gone", {"gone": 1, "back": 1}, xx=True)

        await store.ensure()
        left = [admin.hlen(f"{keys}facts"), admin.zcard(f"{keys}order"), admin.zcard(f"{keys}gone")]
    after = (await store.read(0, 0.0)).facts

    assert PlacedFact(3, "gone", None) in before
    assert after == [PlacedFact(0, "here", b"1"), PlacedFact(5, "back", b"4"), PlacedFact(6, "just gone", None)]
    assert left == [3, 3, 1]
    await store.close()
