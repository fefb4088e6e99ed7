"""Processes that produce and consume until they are killed, and what they say about the order of things."""

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from forebay.queues.contract import Producer, Queue, Record, StoredRecord
from tests.integration.queues.members import STREAM

HERE = Path(__file__).parent


class Stage:
    """Starts the programs of this folder, and gets the lines of all of them in the order in which they were written."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.processes: list[subprocess.Popen[bytes]] = []
        self._read_end, self._write_end = os.pipe()
        self._ended = False
        self.lines = asyncio.StreamReader()

    async def open(self) -> asyncio.ReadTransport:
        # uvloop closes the number itself, and the file once more: another thread may have got the number by then.
        file = os.fdopen(self._read_end, "rb", buffering=0, closefd=False)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.lines), file
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


class Seen:
    """What producers were told is kept, and what consumers got, of the lines of both."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.kept: dict[str, int] = {}
        self.chronicle = Chronicle()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.note(await self._stage.line())

    def note(self, line: list[str]) -> None:
        # What a consumer was told may have two words as well, but no number.
        if len(line) == 2 and line[1].isdigit():
            assert int(line[1]) == self.kept.get(line[0], 0), "told as kept out of order"
            self.kept[line[0]] = int(line[1]) + 1
        else:
            self.chronicle.note(line)

    @property
    def count(self) -> int:
        return sum(self.kept.values())


async def send_all(producer: Producer, each: int, start: int = 0) -> None:
    """Records of 20 portals, so many of each."""
    for number in range(start, start + each):
        sent = [Record(key=f"portal{key}", value=str(number).encode(), timestamp_ms=number) for key in range(20)]
        await asyncio.gather(*(producer.send(STREAM, one) for one in sent))


async def follow(stage: Stage, chronicle: Chronicle, until: Callable[[], bool]) -> None:
    while not until():
        chronicle.note(await stage.line())
