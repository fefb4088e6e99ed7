"""The client by which a cluster is asked, on clients of librdkafka that are made up."""

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from forebay.queues.kafka.asking import Asking
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import Faults

ONE_BROKER = SimpleNamespace(brokers={1: "broker"})
NO_BROKER = SimpleNamespace(brokers={})

#: Far more than any of these needs.
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that ends has all the time for it that a slow machine takes."""
    monkeypatch.setattr("forebay.queues.kafka.closing._END_S", PATIENCE_S)


@dataclass
class Client:
    """Answers when it may, as it is told to."""

    answer: Any
    may_answer: Event = field(default_factory=Event)
    asked: int = 0
    ended: Event = field(default_factory=Event)

    def list_topics(self, topic: str, timeout: float) -> Any:
        self.asked += 1
        self.may_answer.wait()
        if isinstance(self.answer, KafkaException):
            raise self.answer
        return self.answer

    def poll(self, timeout: float) -> None:
        """Nothing to complain of."""

    def __exit__(self, *_: object) -> None:
        self.ended.set()


@dataclass
class Endless(Client):
    """Ends when it may."""

    may_end: Event = field(default_factory=Event)

    def __exit__(self, *_: object) -> None:
        self.may_end.wait()
        self.ended.set()


class Made:
    """Gives the clients out, one after the other."""

    def __init__(self, *clients: Client) -> None:
        self._clients = list(clients)

    def admin(self, faults: Faults) -> Client:
        return self._clients.pop(0)


def answering(answer: Any) -> Client:
    client = Client(answer)
    client.may_answer.set()
    return client


def failing(code: int) -> Client:
    return answering(KafkaException(KafkaError(code)))


def asking(*clients: Client) -> Asking:
    return Asking(cast(Clients, Made(*clients)), Faults())


async def answered(asked: Asking) -> Any:
    return await asked.refresh("topic", PATIENCE_S)


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT])
async def test_a_client_that_reaches_nobody_is_followed_by_a_fresh_one(code: int) -> None:
    silent, well = failing(code), answering(ONE_BROKER)
    asked = asking(silent, well)
    with pytest.raises(KafkaException):
        await answered(asked)

    assert await answered(asked) is ONE_BROKER

    assert (silent.asked, well.asked) == (1, 1)
    await asked.close()
    assert silent.ended.is_set()
    assert well.ended.is_set()


async def test_a_client_that_hears_of_no_broker_is_followed_by_a_fresh_one() -> None:
    hollow, well = answering(NO_BROKER), answering(ONE_BROKER)
    asked = asking(hollow, well)

    assert await answered(asked) is ONE_BROKER

    assert (hollow.asked, well.asked) == (1, 1)
    await asked.close()


async def test_a_cluster_that_knows_of_no_broker_is_unavailable_in_the_end() -> None:
    asked = asking(answering(NO_BROKER), answering(NO_BROKER))

    with pytest.raises(KafkaException, match="none of its brokers is alive"):
        await asked.refresh("topic", 0.01)

    await asked.close()


async def test_a_client_that_is_refused_is_kept() -> None:
    client = failing(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    asked = asking(client)
    for _ in range(2):
        with pytest.raises(KafkaException):
            await answered(asked)

    assert client.asked == 2
    await asked.close()


async def test_a_question_whose_askers_have_all_gone_is_judged_all_the_same() -> None:
    silent, well = Client(KafkaException(KafkaError(KafkaError._TIMED_OUT))), answering(ONE_BROKER)
    asked = asking(silent, well)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await answered(asked)
    silent.may_answer.set()
    with pytest.raises(KafkaException):
        await answered(asked)

    assert await answered(asked) is ONE_BROKER

    # The second had waited for the answer that the first did not wait for.
    assert silent.asked == 1
    await asked.close()


async def test_an_error_that_nobody_waits_for_any_more_is_not_told_as_a_mistake() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    silent = Client(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    asked = asking(silent, answering(ONE_BROKER))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await answered(asked)

    silent.may_answer.set()
    await asked.close()
    while asked._refreshing:
        await asyncio.sleep(0)
    gc.collect()

    assert told == []


async def test_however_many_ask_of_a_cluster_that_hangs_one_thread_waits() -> None:
    client = Client(ONE_BROKER)
    asked = asking(client)
    asking_at_once = [asyncio.create_task(answered(asked)) for _ in range(100)]
    await asyncio.sleep(0)
    client.may_answer.set()

    assert await asyncio.gather(*asking_at_once) == [ONE_BROKER] * 100

    assert client.asked == 1
    await asked.close()


async def test_a_question_waits_for_no_thread_that_others_hold() -> None:
    held = Event()
    everybodys = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(everybodys)
    everybodys.submit(held.wait)
    asked = asking(answering(ONE_BROKER))

    try:
        async with asyncio.timeout(10):
            assert await answered(asked) is ONE_BROKER
            await asked.close()
    finally:
        held.set()


async def test_a_cluster_that_is_away_for_long_is_asked_by_two_clients_at_most() -> None:
    first, second = failing(KafkaError._TRANSPORT), failing(KafkaError._TRANSPORT)
    asked = asking(first, second)

    for _ in range(10):
        with pytest.raises(KafkaException):
            await answered(asked)

    assert (first.asked, second.asked) == (1, 9)
    await asked.close()
    assert first.ended.is_set()
    assert second.ended.is_set()


async def test_a_client_that_never_ends_is_left_by_a_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.queues.kafka.closing._END_S", 0.01)
    client = Endless(ONE_BROKER)
    client.may_answer.set()
    asked = asking(client)
    await answered(asked)

    try:
        async with asyncio.timeout(30):
            await asked.close()
        assert not client.ended.is_set()
    finally:
        client.may_end.set()
