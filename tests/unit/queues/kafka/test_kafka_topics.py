"""Questions about topics that many ask at once, and what is said of a topic that can't be used."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka.admin import Admin, Topic
from forebay.queues.kafka.topics import Topics


class Asked:
    """Answers when it is told to, and counts the questions."""

    def __init__(self) -> None:
        self.questions = 0
        self.answer: asyncio.Future[Topic] = asyncio.get_running_loop().create_future()

    async def topics(self, names: Collection[str], answer_s: float = 0) -> dict[str, Any]:
        self.questions += 1
        return dict.fromkeys(names, await self.answer)


async def asking(topics: Topics, many: int) -> list[asyncio.Task[Topic]]:
    found = [asyncio.create_task(topics.found("events")) for _ in range(many)]
    await asyncio.sleep(0)
    return found


async def test_who_asks_while_somebody_else_does_gets_the_same_answer_and_who_goes_takes_it_from_nobody() -> None:
    admin = Asked()
    topics = Topics(cast(Admin, admin), "events")
    first, *others = await asking(topics, 300)
    first.cancel()
    admin.answer.set_result(there := Topic(id="a", partitions=(0,), leaderless=()))

    assert await asyncio.gather(*others) == [there] * 299
    assert admin.questions == 1
    assert await topics.found("events") == there
    assert admin.questions == 2


async def test_an_error_is_told_to_all_who_asked_and_to_nobody_who_did_not() -> None:
    admin = Asked()
    topics = Topics(cast(Admin, admin), "events")
    asked = await asking(topics, 3)
    admin.answer.set_exception(QueueUnavailable("away"))

    for one in asked:
        with pytest.raises(QueueUnavailable, match="away"):
            await one
    admin.answer = asyncio.get_running_loop().create_future()
    [last] = await asking(topics, 1)
    last.cancel()
    admin.answer.set_exception(QueueUnavailable("still away"))
    # Nobody waits for it any more, and nothing is said of that.
    await asyncio.wait([last])
    while topics._asked:
        await asyncio.sleep(0)


async def test_of_facts_in_several_partitions_nobody_says_that_the_events_should_have_as_many() -> None:
    admin = Asked()
    admin.answer.set_result(Topic(id="a", partitions=(0, 1, 2), leaderless=()))

    with pytest.raises(QueueError, match="facts about portals need one order: stop everything") as told:
        await Topics(cast(Admin, admin), "events").ensure_compacted("events.portals", only_plan=False)

    assert "set partitions" not in str(told.value)
