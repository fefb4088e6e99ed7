"""A replay that was ordered is followed to its end, which is not always a good one."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

from forebay.console.orders.following import Following
from forebay.processors.parking.orders import Order
from forebay.processors.parking.state import Replaying
from forebay.queues.contract import GroupState
from forebay.queues.errors import QueueUnavailable

from .by_hand import GROUP, HERE, TOPIC, A, B, Worker, replay


class Groups:
    """The inspector of a queue in which the group stands as the worker says."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._inspector = worker, worker.queue.inspector()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._inspector, name)
        return found

    async def groups(self, stream: str, only: Collection[str] | None = None) -> dict[str, dict[int, GroupState]]:
        return {GROUP: {HERE: self._worker.committed}}


def following(worker: Worker, *orders: Order) -> Following:
    made = Following(inspector=Groups(worker), topic=TOPIC)
    made.add(orders, HERE)
    return made


async def test_a_replay_is_followed_to_its_end(worker: Worker) -> None:
    given = await replay(worker.queue, 1, 2, 3)
    followed, done = following(worker, given), []

    for state in (None, {"orders": 1, "replays": [Replaying(order=0, done=2)]}, {"orders": 1}):
        if state is not None:
            await worker.tell(A, **state)
        await followed.look()
        done.append((followed.done, followed.is_over))

    assert done == [(0, False), (2, False), (3, True)]


@pytest.mark.parametrize("trouble", [{"due_ms": 99}, {"is_held": True}])
async def test_a_portal_that_fails_again_or_is_held_is_not_waited_for(worker: Worker, trouble: dict[str, Any]) -> None:
    given, other = await replay(worker.queue, 1, 2), await replay(worker.queue, 3, portal=B)
    followed = following(worker, given, other)
    await worker.tell(A, orders=1, replays=[Replaying(order=0, done=1)], **trouble)

    await followed.look()
    before = followed.is_over
    await worker.tell(B, orders=2)
    await followed.look()

    assert not before
    assert followed.is_over
    assert followed.stuck == {A}
    assert followed.done == 2


async def test_nobody_is_waited_for_who_is_not_there(worker: Worker) -> None:
    worker.owner = None
    followed = following(worker, await replay(worker.queue, 1, 2))

    await followed.look()

    assert followed.is_over
    assert followed.without_worker == [(GROUP, HERE)]


async def test_a_queue_that_is_away_for_a_while_ends_no_following(worker: Worker) -> None:
    followed = following(worker, await replay(worker.queue, 1, 2))

    worker.queue.down = True
    for _ in range(29):
        await followed.look()
    over_while_down = followed.is_over
    worker.queue.down = False
    await worker.tell(A, orders=1)
    await followed.look()

    assert not over_while_down
    assert (followed.is_over, followed.done) == (True, 2)


async def test_a_queue_that_stays_away_ends_it(worker: Worker) -> None:
    followed = following(worker, await replay(worker.queue, 1, 2))
    worker.queue.down = True
    for _ in range(29):
        await followed.look()

    with pytest.raises(QueueUnavailable):
        await followed.look()


async def test_a_worker_that_goes_may_come_back(worker: Worker) -> None:
    followed = following(worker, await replay(worker.queue, 1, 2))
    await followed.look()
    worker.owner = None

    looks = 0
    while not followed.is_over:
        await followed.look()
        looks += 1

    assert looks == 15
