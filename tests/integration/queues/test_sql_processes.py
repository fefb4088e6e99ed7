"""The SQL queue among real processes that are killed, stopped, and compete."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from forebay.queues.contract import Producer, Queue, Record, StoredRecord
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

HERE = Path(__file__).parent
STREAM = "events"
PARTITIONS = 4
#: So short that a test can wait for a dead member to be missed.
SESSION_S = "1.0"


class Stage:
    """Starts the programs of this folder, and gets the lines of all of them in the order in which they were written."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.processes: list[subprocess.Popen[bytes]] = []
        self._read_end, self._write_end = os.pipe()
        self._ended = False
        self.lines = asyncio.StreamReader()

    async def open(self) -> asyncio.ReadTransport:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.lines), os.fdopen(self._read_end, "rb", buffering=0)
        )
        return transport

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(HERE / program), self._url, *arguments]
        self.processes.append(subprocess.Popen(command, stdout=self._write_end))
        return self.processes[-1]

    async def line(self) -> list[str]:
        """The words of the next line; none at the end."""
        return (await self.lines.readline()).decode().split()

    async def rest(self) -> list[list[str]]:
        """Kill what still runs, and return the lines that nobody has read yet."""
        self.end()
        return [line.decode().split() for line in (await self.lines.read()).splitlines()]

    def end(self) -> None:
        """Kill what still runs. Idempotent."""
        for process in self.processes:
            process.kill()
            process.wait()
        if not self._ended:
            os.close(self._write_end)
        self._ended = True


@pytest.fixture
async def stage(url: str, queue: Queue) -> AsyncIterator[Stage]:
    stage = Stage(url)
    transport = await stage.open()
    yield stage
    stage.end()
    transport.close()


async def read_all(queue: Queue) -> list[StoredRecord]:
    inspector = queue.inspector()
    found: list[StoredRecord] = []
    for partition, bounds in (await inspector.bounds(STREAM)).items():
        offset = bounds.start
        while records := await inspector.read(STREAM, partition, offset, 1000):
            found += records
            offset = records[-1].offset + 1
    await inspector.close()
    return found


def by_key(records: list[StoredRecord]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for one in records:
        found[one.key].append(int(one.value))
    return found


class Chronicle:
    """What all consumers printed: the first time that each record was seen must be in its key's order."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = defaultdict(int)
        self.count = self.repeats = 0
        self.told: list[tuple[str, str]] = []

    def note(self, line: list[str]) -> None:
        name, what, *rest = line
        if what != "record":
            self.told.append((name, what))
            return
        key, number = rest[0], int(rest[1])
        assert number <= self.seen[key], f"{name} saw {key} {number} before {self.seen[key]}"
        self.repeats += number < self.seen[key]
        self.count += number == self.seen[key]
        self.seen[key] = max(self.seen[key], number + 1)


async def send_all(producer: Producer, each: int, start: int = 0) -> None:
    """Records of 20 portals, so many of each."""
    for number in range(start, start + each):
        sent = [Record(key=f"portal{key}", value=str(number).encode(), timestamp_ms=number) for key in range(20)]
        await asyncio.gather(*(producer.send(STREAM, one) for one in sent))


async def follow(stage: Stage, chronicle: Chronicle, until: Callable[[], bool]) -> None:
    while not until():
        chronicle.note(await stage.line())


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


async def test_killed_consumers_lose_nothing_and_keep_the_order(producer: Producer, stage: Stage) -> None:
    chance, chronicle, kills = random.Random(5), Chronicle(), 4
    producing = asyncio.create_task(send_all(producer, 300))
    running = [stage.start("consume_forever.py", f"first{number}", SESSION_S) for number in range(2)]

    for turn in range(kills):
        target = chronicle.count + chance.randrange(200, 800)
        await follow(stage, chronicle, lambda target=target: chronicle.count >= target)  # type: ignore[misc]
        running.pop(0).kill()
        running.append(stage.start("consume_forever.py", f"turn{turn}", SESSION_S))
    await producing
    await follow(stage, chronicle, lambda: chronicle.count == 20 * 300)

    assert dict(chronicle.seen) == {f"portal{key}": 300 for key in range(20)}
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
