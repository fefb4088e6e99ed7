"""What stands between an intake and its stream: one after the other, and what can't go through."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Producer, Queue, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.rabbitmq import logs, partition_lane, places
from forebay.queues.rabbitmq.records import packed
from tests.databases.server import ADMIN
from tests.integration.queue_contract.parts import by_key
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, kept, record
from tests.integration.queues.stage import Seen, Stage, read_all
from tests.rabbitmq.server import MAX_MESSAGE_BYTES, Server, direct

#: Each word to the node is an Erlang of its own, which takes long to start on a machine that is busy.
pytestmark = pytest.mark.timeout(400)


async def test_sequencers_that_are_killed_at_work_lose_nothing_and_keep_the_order(queue: Queue, stage: Stage) -> None:
    seen, chance = Seen(stage), random.Random(7)
    stage.start("consume_forever.py", "worker", "30.0")
    running = [stage.start("produce_stubbornly.py", f"first{number}") for number in range(2)]

    for turn in range(12):
        count = seen.count
        await seen.until(lambda count=count: seen.count >= count + chance.randrange(100, 400))  # type: ignore[misc]
        # The one that came first: the intakes serve it.
        victim = running.pop(0)
        victim.kill()
        victim.wait()
        running.append(stage.start("produce_stubbornly.py", f"turn{turn}"))
    for victim in running:
        victim.kill()
        victim.wait()
    last = queue.producer()
    for number in range(PARTITIONS * 20):
        # One of each partition has what the others have left come through.
        await last.send(STREAM, Record(key=f"last-{number}", value=b"0", timestamp_ms=0))
    records = await read_all(queue)
    found = by_key(records)
    await seen.until(lambda: dict(seen.chronicle.seen) == {key: len(numbers) for key, numbers in found.items()})

    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(number <= len(found[key]) for key, number in seen.kept.items())
    assert len({(one.partition, one.offset) for one in records}) == len(records)
    await last.close()


async def test_sequencers_that_are_closed_at_work_hand_over_in_their_order(queue: Queue) -> None:
    producers, is_over = [queue.producer()], False

    async def send(key: str) -> int:
        number = 0
        while not is_over:
            # By the newest one, which is not the one that the intakes serve.
            await producers[-1].send(STREAM, Record(key=key, value=b"%d" % number, timestamp_ms=0))
            number += 1
        return number

    sending = [asyncio.create_task(send(f"portal{number}")) for number in range(60)]
    for _ in range(8):
        await asyncio.sleep(0.3)
        producers.append(queue.producer())
        await asyncio.sleep(0.3)
        await producers.pop(0).close()
    is_over = True
    sent = await asyncio.gather(*sending)

    found = by_key(await read_all(queue))
    assert found == {f"portal{number}": list(range(count)) for number, count in enumerate(sent)}
    await producers[0].close()


async def test_what_a_stranger_takes_out_of_an_intake_is_written_again(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_lane, "_THROUGH_S", 1.0)
    producer, taken = queue.producer(), list[bytes]()
    with closing(direct(url)) as connection:
        channel = connection.channel()
        for number in range(PARTITIONS):
            # Before there is a sequencer: the intake serves who comes first.
            name = logs.intake(logs.partition_log(STREAM, number))
            channel.basic_consume(name, lambda *told: taken.append(told[3]), auto_ack=True)
        sending = asyncio.create_task(producer.send(STREAM, record(0)))
        while not taken:
            await asyncio.to_thread(connection.process_data_events, 0.05)

    with capture_logs() as told:
        await sending

    assert [one.value for one in await read_all(queue)] == [b"0"]
    assert "intake_silent" in {one["event"] for one in told}
    await producer.close()


@contextmanager
def _channel(url: str) -> Iterator[Any]:
    with closing(direct(url)) as connection:
        yield connection.channel()


def _bodies(url: str, log: str) -> list[bytes]:
    """All that stands in a stream."""
    found: list[bytes] = []
    with closing(direct(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        channel.basic_consume(log, lambda *told: found.append(told[3]), arguments={"x-stream-offset": "first"})
        while not found:
            connection.process_data_events(1.0)
        channel.basic_qos(prefetch_count=1000)
        connection.process_data_events(0)
    return found


async def test_what_one_that_was_cut_off_writes_late_comes_to_nobody(
    queue: Queue, producer: Producer, url: str
) -> None:
    for number in range(10):
        last = await producer.send(STREAM, record(number))
    log, inspector = logs.partition_log(STREAM, last.partition), queue.inspector()
    consumer, follower = queue.consumer(STREAM, "group"), Follower()
    await consumer.start(follower)
    assert await fetch(consumer, 10) == [b"%d" % number for number in range(10)]
    await consumer.commit({last.partition: Commit(offset=5)})
    late = await asyncio.to_thread(_bodies, url, log)

    with _channel(url) as channel:
        channel.confirm_delivery()
        for body in late[-6:]:
            channel.basic_publish("", log, body)
    assert (await inspector.bounds(STREAM))[last.partition].end == 10
    after = [await producer.send(STREAM, record(number)) for number in (10, 11)]

    assert [one.offset for one in after] == [10, 11]
    assert await fetch(consumer, 2) == [b"10", b"11"]
    await consumer.close()
    again = queue.consumer(STREAM, "group")
    await again.start(Follower())
    assert await fetch(again, 7) == [b"%d" % number for number in range(5, 12)]
    for start in range(12):
        read = await inspector.read(STREAM, last.partition, start, 100)
        assert [(one.offset, one.value) for one in read] == [(at, b"%d" % at) for at in range(start, 12)]
    for part in (again, inspector):
        await part.close()


async def test_what_is_no_entry_goes_to_the_dead_letters_and_holds_nothing_up(
    queue: Queue, producer: Producer, url: str
) -> None:
    first = await producer.send(STREAM, record(0))

    with capture_logs() as told, _channel(url) as channel:
        channel.basic_publish("", logs.intake(logs.partition_log(STREAM, first.partition)), b"garbage")
        second = await producer.send(STREAM, record(1))
        while not (letter := channel.basic_get(logs.DEAD_LETTERS))[0]:
            await asyncio.sleep(0.05)

    assert letter[2] == b"garbage"
    assert second.offset == first.offset + 1
    assert [(one["event"], one["log_level"]) for one in told] == [("intake_refused", "error")]


def _large() -> Record:
    """It has 3021 bytes for the intake, and 3038 for the stream."""
    empty = Record(key="portal", value=b"", timestamp_ms=0)
    return Record(key="portal", value=bytes(3000 - len(packed(empty))), timestamp_ms=0)


@contextmanager
def _limited(rabbitmq: Server, size: int) -> Iterator[None]:
    rabbitmq.take_at_most(size)
    try:
        yield
    finally:
        rabbitmq.take_at_most(MAX_MESSAGE_BYTES)


@pytest.mark.parametrize(("size", "is_taken"), [(3000, False), (3030, False), (3040, True)])
async def test_what_is_too_large_for_the_server_is_told_also_when_the_intake_has_taken_it(
    queue: Queue, rabbitmq: Server, size: int, is_taken: bool
) -> None:
    producer, fits, large = queue.producer(), record(1), _large()
    with _limited(rabbitmq, size):
        sent = await asyncio.gather(
            *(producer.send(STREAM, one) for one in (fits, large, fits)), return_exceptions=True
        )

    assert isinstance(sent[1], RecordRefused) is not is_taken
    offsets = [one.offset for one in sent if not isinstance(one, BaseException)]
    assert offsets == sorted(set(offsets))
    assert len(offsets) == 2 + is_taken
    await producer.close()


@pytest.mark.parametrize("size", [3000, 3030])
async def test_a_server_that_takes_more_again_gets_it(queue: Queue, rabbitmq: Server, url: str, size: int) -> None:
    """Who has learned how much a node takes asks the next one anew, or the same when it was started anew."""
    producer, large = queue.producer(), _large()
    with _limited(rabbitmq, size), pytest.raises(RecordRefused, match="max_message_size"):
        await producer.send(STREAM, large)

    await asyncio.to_thread(rabbitmq.control, "close_all_user_connections", ADMIN, "as one that is started anew")
    await _connected_anew(producer)
    sent = await kept(producer, large)

    assert [one.offset for one in await read_all(queue)] == [sent.offset]
    # What came into the intake before, by the one of both limits; the node forwards it a moment after it was refused.
    with _channel(url) as channel:
        while (count := _waiting(channel, logs.DEAD_LETTERS)) < (size == 3030):
            await asyncio.sleep(0.05)
    assert count == (size == 3030)
    await producer.close()


def _waiting(channel: Any, queue: str) -> int:
    """How many messages are in it."""
    return int(channel.queue_declare(queue, passive=True).method.message_count)


async def _connected_anew(producer: Producer) -> None:
    """Return when it has heard that its connection was closed, and has another."""
    while True:
        with suppress(QueueUnavailable):
            return await producer.check()


async def test_what_became_too_large_in_the_intake_keeps_its_place_and_holds_nothing_up(
    queue: Queue, rabbitmq: Server, url: str
) -> None:
    log = logs.partition_log(STREAM, await _where(queue))
    bodies = [places.entry(b"12345678", number, 1, bytes(2000 if number == 1 else 10)) for number in range(3)]
    with _channel(url) as channel:
        for body in bodies:
            channel.basic_publish("", logs.intake(log), body)
    with _limited(rabbitmq, 1000):
        producer = queue.producer()
        sent = await producer.send(STREAM, record(5))
        with _channel(url) as channel:
            while not (letter := channel.basic_get(logs.DEAD_LETTERS))[0]:
                await asyncio.sleep(0.05)

    assert letter[2] == bodies[1]
    assert letter[1].headers["x-death"][0]["reason"] == "rejected"
    # One before, three of these, each with its place.
    assert sent.offset == 4
    await producer.close()


async def _where(queue: Queue) -> int:
    producer = queue.producer()
    sent = await producer.send(STREAM, record(0))
    await producer.close()
    return sent.partition
