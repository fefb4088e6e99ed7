"""What a client of librdkafka was asked, and never says anything about."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka import answers
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.answers import answered
from forebay.queues.kafka.clients import Clients
from tests.unit.queues.kafka.test_kafka_asking import ONE_BROKER, Client, Made

#: Of who waits in vain, and of who does not.
PATIENCE_S, LONG_S = 0.01, 60.0


@pytest.fixture(autouse=True)
def _without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_TO_SPARE_S", 0.0)


@dataclass
class Forgetful(Client):
    """Finds its brokers, and forgets what else it was asked."""

    questions: list[Future[Any]] = field(default_factory=list)

    def _asked(self, *_: object, **__: object) -> dict[str, Future[Any]]:
        self.questions.append(Future())
        return {"events": self.questions[-1]}

    describe_topics = list_offsets = describe_configs = create_topics = _asked


@pytest.fixture
def forgetful() -> Forgetful:
    client = Forgetful(ONE_BROKER)
    client.may_answer.set()
    return client


async def test_nobody_waits_for_ever_for_a_client_that_has_forgotten_the_question(forgetful: Forgetful) -> None:
    admin = Admin(cast(Clients, Made(forgetful)))

    with pytest.raises(QueueUnavailable, match="never said what became of a question"):
        await admin.topics(["events"], PATIENCE_S)

    assert await admin.config("events", PATIENCE_S) is None
    assert len(forgetful.questions) == 2
    await admin.close()


async def test_what_is_said_too_late_is_for_nobody() -> None:
    future: Future[str] = Future()
    future.set_running_or_notify_cancel()
    with pytest.raises(KafkaException) as raised:
        await answered(future, PATIENCE_S)

    future.set_result("late")

    assert raised.value.args[0].code() == KafkaError._TIMED_OUT
    assert await answered(future, LONG_S) == "late"
