"""The RabbitMQ queue among real processes that are killed, stopped, and compete."""

import asyncio
import random
import signal

from forebay.queues.contract import Producer, Queue
from tests.integration.queues.members import PARTITIONS
from tests.integration.queues.stage import Chronicle, Stage, by_key, follow, read_all, send_all

#: So short that a test can wait for a dead member to be missed, and long enough for a machine that is busy.
SESSION_S = "3.0"


async def test_what_a_killed_producer_was_told_is_kept_and_in_order(queue: Queue, stage: Stage) -> None:
    chance, lines = random.Random(3), []
    for turn in range(3):
        victim = stage.start("produce_forever.py", f"turn{turn}")
        lines += [await stage.line() for _ in range(chance.randrange(50, 1000))]
        victim.kill()
        victim.wait()

    kept = {(key, int(number)) for key, number in lines + await stage.rest()}

    found = by_key(await read_all(queue))
    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(number < len(found[key]) for key, number in kept)


async def test_killed_consumers_lose_nothing_and_keep_the_order(producer: Producer, stage: Stage) -> None:
    chronicle, kills = Chronicle(), 2
    producing = asyncio.create_task(send_all(producer, 150))
    running = [stage.start("consume_forever.py", f"first{number}", SESSION_S) for number in range(2)]

    for turn in range(kills):
        target = chronicle.count + 500
        await follow(stage, chronicle, lambda target=target: chronicle.count >= target)  # type: ignore[misc]
        running.pop(0).kill()
        running.append(stage.start("consume_forever.py", f"turn{turn}", SESSION_S))
    await producing
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 150)

    assert dict(chronicle.seen) == {f"portal{key}": 150 for key in range(20)}
    # Each victim had printed at most three fetches of 20, and what the pipe took of a fourth, without a commit.
    assert chronicle.repeats <= kills * 4 * 20


async def test_a_consumer_that_stood_still_too_long_has_lost_its_partitions(producer: Producer, stage: Stage) -> None:
    chronicle = Chronicle()
    frozen = stage.start("consume_forever.py", "frozen", SESSION_S)
    await send_all(producer, 20)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 20)

    frozen.send_signal(signal.SIGSTOP)
    stage.start("consume_forever.py", "other", SESSION_S)
    await follow(stage, chronicle, lambda: chronicle.told.count(("other", "assigned")) == PARTITIONS)
    await send_all(producer, 20, start=20)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 40)
    frozen.send_signal(signal.SIGCONT)
    await follow(stage, chronicle, lambda: chronicle.told.count(("frozen", "assigned")) == PARTITIONS + 2)
    await send_all(producer, 20, start=40)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 60)

    told = [what for name, what in chronicle.told if name == "frozen"]
    assert told.count("lost") == PARTITIONS
    assert "revoked" not in told


async def test_a_consumer_that_is_stopped_hands_over_at_once(producer: Producer, stage: Stage) -> None:
    chronicle = Chronicle()
    leaving = stage.start("consume_forever.py", "leaving", "3600")
    await send_all(producer, 20)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 20)

    leaving.terminate()
    assert await asyncio.to_thread(leaving.wait) == 0
    stage.start("consume_forever.py", "next", "3600")
    await send_all(producer, 1, start=20)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 21)

    assert chronicle.told.count(("leaving", "revoked")) == PARTITIONS
    assert chronicle.repeats == 0
