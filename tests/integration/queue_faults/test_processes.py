"""Queues among real processes that are killed, stopped, and compete."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.queues.contract import Producer, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import by_key
from tests.integration.queues.members import PARTITIONS
from tests.integration.queues.stage import HERE, Chronicle, Stage, follow, read_all, send_all


@pytest.fixture
def session_s(url: str) -> str:
    """So short that a test can wait for a dead member to be missed, and long enough for a machine that is busy."""
    return "3.0" if url.startswith("amqp:") else "2.0"


async def test_what_a_killed_producer_was_told_is_kept_and_in_order(queue: Queue, stage: Stage) -> None:
    chance, lines = random.Random(3), []
    for turn in range(5):
        victim = stage.start("produce_forever.py", f"turn{turn}")
        lines += [await stage.line() for _ in range(chance.randrange(50, 1500))]
        victim.kill()
        victim.wait()

    kept = {(key, int(number)) for key, number in lines + await stage.rest()}

    found = by_key(await read_all(queue))
    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(number < len(found[key]) for key, number in kept)


async def test_two_processes_produce_at_once(queue: Queue, stage: Stage) -> None:
    stage.start("produce_forever.py", "one")
    stage.start("produce_forever.py", "two")
    lines: list[list[str]] = []
    while min(sum(line[0].startswith(name) for line in lines) for name in ("one", "two")) < 500:
        lines.append(await stage.line())

    lines += await stage.rest()

    records = await read_all(queue)
    places = {(one.partition, one.offset) for one in records}
    found = by_key(records)
    assert len(places) == len(records)
    assert all(numbers == list(range(len(numbers))) for numbers in found.values())
    assert all(int(number) < len(found[key]) for key, number in lines)


async def test_killed_consumers_lose_nothing_and_keep_the_order(
    producer: Producer, stage: Stage, session_s: str
) -> None:
    chance, chronicle, kills = random.Random(5), Chronicle(), 4
    producing = asyncio.create_task(send_all(producer, 300))
    running = [stage.start("consume_forever.py", f"first{number}", session_s) for number in range(2)]

    for turn in range(kills):
        target = chronicle.count + chance.randrange(200, 800)
        await follow(stage, chronicle, lambda target=target: chronicle.count >= target)  # type: ignore[misc]
        running.pop(0).kill()
        running.append(stage.start("consume_forever.py", f"turn{turn}", session_s))
    await producing
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 300)

    assert dict(chronicle.seen) == {f"portal{key}": 300 for key in range(20)}
    # Each victim had printed at most three fetches of 20, and what the pipe took of a fourth, without a commit.
    assert chronicle.repeats <= kills * 4 * 20


async def test_a_consumer_that_stood_still_too_long_has_lost_its_partitions(
    producer: Producer, stage: Stage, session_s: str
) -> None:
    chronicle = Chronicle()
    frozen = stage.start("consume_forever.py", "frozen", session_s)
    await send_all(producer, 20)
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 20)

    frozen.send_signal(signal.SIGSTOP)
    stage.start("consume_forever.py", "other", session_s)
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


async def test_many_processes_make_the_streams_at_once(url: str) -> None:
    program = (
        "import asyncio, sys; from forebay.queues.opening import open_queue; "
        "from forebay.queues.settings import QueueSettings; "
        "queue = open_queue(QueueSettings(queue_url=sys.argv[1])); print(asyncio.run(queue.ensure(['a', 'b'], 4)))"
    )

    running = [subprocess.Popen([sys.executable, "-c", program, url]) for _ in range(6)]

    assert [await asyncio.to_thread(process.wait) for process in running] == [0] * 6
    queue = open_queue(QueueSettings(queue_url=url))
    assert await queue.missing(["a", "b"], 4) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_full_disk_refuses_keeps_nothing_by_halves_and_recovers(queue: Queue, tmp_path: Path) -> None:
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(HERE / "fill_the_disk.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    told = [line.split() for line in ran.stdout.splitlines()]
    kept = [int(number) for what, number in told if what == "kept"]
    found = [int(one.value.split()[0]) for one in await read_all(queue)]
    assert 0 < sum(what == "refused" for what, _ in told) < 40
    assert found == kept
    assert kept[-10:] == list(range(40, 50))
