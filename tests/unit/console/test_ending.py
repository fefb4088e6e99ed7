"""A command whose queue goes away in the middle ends all the same: by itself after an error, or by Ctrl-C."""

import asyncio
import gc
import os
import pty
import signal
import subprocess
import sys
import warnings

import pytest

from forebay.console.orders.replaying import carry_out
from forebay.console.planning import Plan, Planned
from forebay.console.running import heard, run
from forebay.queues.contract import Delivery, Inspector, Record
from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of

TOPIC = "bitrix24.events"
PARTITIONS = 4
LONG_S = 20

#: A command that has ended but for what it has left behind, which is waited for.
LINGERING = """
import asyncio, os, signal
from forebay.console.running import heard, run

async def linger():
    try:
        await asyncio.Event().wait()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

async def work():
    global lingering
    lingering = asyncio.create_task(linger())
    await asyncio.sleep(0)

run(work())
"""

#: A command that asks while it has a queue open, as `forebay move` does.
ASKING = """
from forebay.console.running import run
from forebay.console.terminal.asking import agreed

async def work():
    agreed("move it?", yes=False)

run(work())
"""


class GoneQueue(MemoryQueue):
    """Takes nothing, and says nothing about it."""

    def producer(self) -> MemoryProducer:
        """One that waits."""
        return _WaitingProducer(self)


class _WaitingProducer(MemoryProducer):
    def __init__(self, queue: GoneQueue) -> None:
        super().__init__(queue)
        self._due = asyncio.Event()
        self._gone = queue

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        self._gone.written.set()

    async def close(self) -> None:
        await self._due.wait()


@pytest.fixture
async def queue(monkeypatch: pytest.MonkeyPatch) -> GoneQueue:
    monkeypatch.setattr("forebay.console.reading._FLUSH_S", 0.01)
    monkeypatch.setattr("forebay.console.orders.replaying._LAST_ORDER_S", 0.01)
    monkeypatch.setattr("forebay.console.orders.replaying._LOOK_S", 0.01)
    made = GoneQueue()
    await made.ensure(names.streams(TOPIC), PARTITIONS)
    return made


def plan() -> Plan:
    portal = "a.example"
    made = Planned(portal=portal, partition=partition_of(portal, PARTITIONS), group="forebay", stream=names.dead(TOPIC))
    made.add(1, 1)
    return [made]


async def replaying(queue: GoneQueue, inspector: Inspector) -> "asyncio.Task[bool]":
    """A replay that waits for its first order to be kept."""
    task = asyncio.create_task(carry_out(queue, inspector, TOPIC, plan(), None, ""))
    await queue.written.wait()
    return task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_second_ctrl_c_or_sigterm_gives_up_what_the_queue_does_not_take(
    queue: GoneQueue, number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    task = await replaying(queue, queue.inspector())

    os.kill(os.getpid(), number)
    await asyncio.sleep(0.1)
    waits_for_the_first = not task.done()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(LONG_S):
        with pytest.raises(QueueUnavailable, match="may have the last order or not"):
            await task

    assert waits_for_the_first
    assert "stopped: 1 record of 1 portal not ordered" in capfd.readouterr().err


async def test_an_error_is_told_though_an_order_is_under_way(queue: GoneQueue) -> None:
    task = await replaying(queue, queue.inspector())
    queue.down = True

    async with asyncio.timeout(LONG_S):
        with pytest.raises(QueueUnavailable):
            await task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ctrl_c_or_sigterm_ends_ends_as_given_up(number: int) -> None:
    ended = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(LONG_S)
        finally:
            ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        run(work())

    assert ended == [number]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ctrl_c_or_sigterm_was_only_heard_in_ends_by_it_afterwards(number: int) -> None:
    told: list[str] = []

    async def work() -> None:
        asked = asyncio.Event()
        with heard(asked.set):
            os.kill(os.getpid(), number)
            await asked.wait()
        told.append("heard")
        os.kill(os.getpid(), number)
        try:
            await asyncio.sleep(LONG_S)
        finally:
            told.append("ended")

    with pytest.raises(KeyboardInterrupt):
        run(work())

    assert told == ["heard", "ended"]


def test_sigterm_ends_a_command_that_only_waits_for_what_it_has_left_behind() -> None:
    command = subprocess.run([sys.executable, "-c", LINGERING], timeout=LONG_S, check=False)

    assert command.returncode == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_ends_a_command_that_waits_for_an_answer(number: int) -> None:
    terminal, theirs = pty.openpty()
    command = subprocess.Popen([sys.executable, "-c", ASKING], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    try:
        assert command.stderr is not None
        asked = b""
        while b"move it?" not in asked:
            asked += os.read(command.stderr.fileno(), 100)
        command.send_signal(number)

        assert command.wait(LONG_S) != 0
    finally:
        command.kill()
        command.communicate()
        os.close(terminal)


def test_ctrl_c_before_the_first_step_leaves_nothing_that_python_would_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off() -> None:
        raise KeyboardInterrupt

    async def work() -> None:
        """Never begins."""

    monkeypatch.setattr("forebay.queues.threads.loop.new_event_loop", broken_off)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            run(work())
        gc.collect()

    assert [str(one.message) for one in told] == []
