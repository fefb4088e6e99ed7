"""Questions about topics that many ask at once."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.admin import Admin, Topic
from forebay.queues.kafka.topics import Topics


class Asked:
    """Answers when it is told to, and counts the questions."""

    def __init__(self) -> None:
        self.questions = 0
        self.answer: asyncio.Future[Topic] = asyncio.get_running_loop().create_future()

    async def topics(self, names: Collection[str], answer_s: float) -> dict[str, Any]:
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
