"""An audit stream that was made anew, or has lost its end: what is ordered then is obeyed all the same."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

from forebay.console.orders.lost import Lost, lost_orders, make_up_for_lost
from forebay.console.orders.orders import orders_between
from forebay.console.orders.trail import trail
from forebay.processors.notes import Place, encode_note
from forebay.processors.parking.orders import What
from forebay.queues.contract import GroupState
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names

from .by_hand import HERE, TOPIC, Worker, order


def noted(orders: int) -> GroupState:
    return GroupState(offset=10, note=encode_note(10, [], 1000, Place(generation=1, orders=orders)), owner=None)


class Groups:
    """The inspector of a queue whose groups stand as a test says."""

    def __init__(self, queue: MemoryQueue, states: dict[str, dict[int, GroupState]]) -> None:
        self._inspector, self._states = queue.inspector(), states

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._inspector, name)
        return found

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        return self._states


async def test_it_is_made_as_long_as_the_group_that_has_read_most(
    worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    inspector = Groups(worker.queue, {"crm": {HERE: noted(3)}, "audit": {HERE: noted(1203)}, "new": {}})
    await order(worker.queue, What.HOLD)

    before = await lost_orders(inspector, TOPIC)
    await make_up_for_lost(inspector, worker.queue.producer(), TOPIC, 7)
    given = await order(worker.queue, What.RESUME)

    assert before == [Lost(partition=HERE, end=1, known=1203)]
    assert given.offset == 1203
    assert await lost_orders(inspector, TOPIC) == []
    told = capsys.readouterr().err
    assert f"partition {HERE} of {names.audit(TOPIC)} ends at 1, and workers have read orders up to 1,203" in told
    # What stands between is an order to nobody.
    found = [one.what async for one in orders_between(inspector, TOPIC, HERE, 0, 1204)]
    assert found == [What.HOLD, What.RESUME]
    assert [row["what"] for row in await trail(inspector, TOPIC, None, None, None)] == ["hold", "resume"]


async def test_where_nothing_is_lost_nothing_is_put(worker: Worker, capsys: pytest.CaptureFixture[str]) -> None:
    # Of a partition that the audit stream has not got yet, as while a topic grows, nothing can be said.
    broken = GroupState(offset=10, note=b"not ours", owner=None)
    inspector = Groups(worker.queue, {"crm": {HERE: noted(1), 99: noted(5)}, "other": {HERE: broken}})
    await order(worker.queue, What.HOLD)

    await make_up_for_lost(inspector, worker.queue.producer(), TOPIC, 7)

    assert sum(map(len, worker.queue.logs[names.audit(TOPIC)])) == 1
    assert capsys.readouterr().err == ""


async def test_what_somebody_added_to_the_audit_stream_alone_is_left_alone(worker: Worker) -> None:
    class Fewer(Groups):
        async def partitions(self, stream: str) -> int:
            return 3 if stream == TOPIC else 4

    await make_up_for_lost(Fewer(worker.queue, {"crm": {3: noted(5)}}), worker.queue.producer(), TOPIC, 7)

    assert sum(map(len, worker.queue.logs[names.audit(TOPIC)])) == 0
