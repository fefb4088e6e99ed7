"""Readers whose client of librdkafka, a made-up one, hears nothing: the next read begins with a fresh one."""

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import Faults
from forebay.queues.kafka.portals import _FactReader
from forebay.queues.kafka.reader import Reader


class Client:
    """Nothing comes, and no answer either."""

    def __init__(self, answer: object = None) -> None:
        self._answer = answer
        self.is_closed = self.is_at_rest = False
        #: The topics whose leaders it asked for, and those it was told to read, one after the other.
        self.asked: list[str] = []

    def assign(self, places: list[TopicPartition]) -> None:
        """It reads from there on, in vain."""
        self.asked += [f"reads {place.topic}" for place in places]

    def list_topics(self, topic: str, timeout: float) -> None:
        """No answer in time."""
        self.asked.append(f"asks for {topic}")
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def unassign(self) -> None:
        """It reads no more."""
        self.is_at_rest = True

    def poll(self, timeout: float) -> None:
        return None

    def get_watermark_offsets(self, place: object, timeout: float) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def close(self) -> None:
        self.is_closed = True


class Made:
    """Gives the clients out, one after the other."""

    def __init__(self, *clients: Client) -> None:
        self.left = list(clients)
        #: Those of the last one.
        self.faults = Faults()

    def outsider(self, faults: Faults, *, browses: bool) -> Client:
        self.faults = faults
        return self.left.pop(0)


def test_a_reader_that_hears_nothing_begins_again_with_a_fresh_client() -> None:
    clients = [Client(), Client()]
    reader = Reader(cast(Clients, Made(*clients)))

    for _ in clients:
        with pytest.raises(QueueUnavailable, match="no record came"):
            reader.read("events", 0, 0, 10, 10)

    assert [client.is_closed for client in clients] == [True, True]


def test_what_was_complained_of_before_a_record_came_is_not_the_reason_for_a_later_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Made(client := Client())
    reader = Reader(cast(Clients, made))

    def come(timeout: float) -> Message:
        made.faults.note(KafkaError(KafkaError._TRANSPORT, "a trouble of long ago"))
        return Message(topic="events", partition=0, offset=0, key=b"k", value=b"v")

    monkeypatch.setattr(client, "poll", come)
    assert len(reader.read("events", 0, 0, 1, 1)) == 1
    # What it asked for behind the end would hold up what is asked for elsewhere.
    assert client.is_at_rest
    monkeypatch.undo()

    with pytest.raises(QueueUnavailable, match="no record came"):
        reader.read("events", 0, 1, 2, 1)


def test_a_reader_that_goes_to_another_topic_asks_for_its_leaders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(cast(Clients, Made(client := Client())))
    record = Message(topic="", partition=0, offset=0, key=b"k", value=b"v")
    monkeypatch.setattr(client, "poll", lambda timeout: record)

    found = [reader.read(stream, partition, 0, 1, 1) for stream in ("parked", "audit") for partition in (0, 1)]

    assert all(found)
    assert client.asked == ["reads parked", "reads parked", "asks for audit", "reads audit", "reads audit"]


@pytest.mark.parametrize("answer", [None, KafkaException(KafkaError(KafkaError._TRANSPORT))], ids=["none", "error"])
def test_a_reader_of_facts_that_gets_no_answer_begins_again_with_a_fresh_client(answer: object) -> None:
    silent, well = Client(answer), Client((0, 0))
    reader = _FactReader(cast(Clients, Made(silent, well)), "facts")

    with pytest.raises(QueueUnavailable):
        reader.read(0, 0.0)

    assert silent.is_closed
    assert reader.read(0, 0.0).is_end
    assert not well.is_closed
