"""The supervisor with real children: short Python scripts."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from forebay.console.processes.child import Job
from forebay.console.processes.relay import Relay
from forebay.console.processes.supervisor import Child, Supervisor, stop_on_signals

#: Ends by itself at SIGTERM, and says when.
WELL_BEHAVED = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("bye from", sys.argv[1], flush=True), sys.exit(0)))
print("hello from", sys.argv[1], flush=True)
while True:
    signal.pause()
"""

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hello from", sys.argv[1], flush=True)
while True:
    signal.pause()
"""


def child(name: str, script: str = WELL_BEHAVED) -> Child:
    return Child(name=name, command=[sys.executable, "-c", script, name])


class Heard:
    """Everything that was said, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()

    def say(self, text: str) -> None:
        self.lines.append(text)
        self._news.set()

    async def wait(self, text: str, times: int = 1) -> None:
        while sum(text in line for line in self.lines) < times:
            self._news.clear()
            await self._news.wait()


async def no_delay(_: float) -> None:
    await asyncio.sleep(0)


def supervised(
    heard: Heard,
    *stages: list[Child],
    grace_s: float = 20.0,
    sleep: Callable[[float], Awaitable[object]] = no_delay,
) -> Supervisor:
    return Supervisor(stages, grace_s=grace_s, say=heard.say, relay=Relay(heard.say), sleep=sleep)


async def process_of(supervisor: Supervisor, name: str) -> Process:
    """The child's. What it says may be heard before it is known to run."""
    while name not in supervisor.running:
        await asyncio.sleep(0)
    return supervisor.running[name]


async def test_children_stop_a_stage_after_the_other() -> None:
    heard = Heard()
    supervisor = supervised(heard, [child("first")], [child("second"), child("third")])
    running = asyncio.create_task(supervisor.run())
    await heard.wait("hello", times=3)

    supervisor.stop()

    assert await running == 0
    byes = [line for line in heard.lines if line.startswith("bye")]
    assert byes[0] == "bye from first"
    assert len(byes) == 3


async def test_a_killed_child_is_started_again_with_growing_delays() -> None:
    heard, delays = Heard(), []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    supervisor = supervised(heard, [child("one")], sleep=sleep)
    running = asyncio.create_task(supervisor.run())
    supervisor.settled = True
    for life in range(1, 4):
        await heard.wait("hello", times=life)
        (await process_of(supervisor, "one")).kill()
    await heard.wait("hello", times=4)
    supervisor.stop()

    assert await running == 0
    assert delays == [0.2, 0.5, 1.0]
    assert "one was ended by SIGKILL; it is started again in 0.2 s" in heard.lines


async def test_what_to_do_is_told_where_a_child_is_killed_again_and_again() -> None:
    heard = Heard()
    mortal = replace(child("one"), if_killed="look at the page")
    supervisor = supervised(heard, [mortal], [child("two")])
    running = asyncio.create_task(supervisor.run())
    supervisor.settled = True
    for life in range(1, 5):
        for name in ("one", "two"):
            await heard.wait(f"hello from {name}", times=life)
            (await process_of(supervisor, name)).kill()
    await heard.wait("hello from one", times=5)
    supervisor.stop()
    await running

    ends = {name: [line for line in heard.lines if line.startswith(f"{name} was ended")] for name in ("one", "two")}
    assert [line.endswith(" s; look at the page") for line in ends["one"]] == [False, False, True, True]
    assert not any("page" in line for line in ends["two"])


def test_a_worker_that_is_killed_again_and_again_has_a_page() -> None:
    heading = Job(role="worker").child("worker 1").if_killed.partition("docs/trouble.md, ")[2]

    assert f"\n## {heading}\n" in (Path(__file__).parents[3] / "docs" / "trouble.md").read_text("utf-8")
    assert Job(role="ingest").child("ingest").if_killed == ""


async def test_a_child_for_which_the_system_has_no_room_is_started_when_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, started = Heard(), []

    async def start(*command: str, **more: Any) -> asyncio.subprocess.Process:
        started.append(command)
        if len(started) in (2, 3):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await usual(*command, **more)

    usual = asyncio.create_subprocess_exec
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    supervisor = supervised(heard, [child("one")])
    running = asyncio.create_task(supervisor.run())
    supervisor.settled = True
    await heard.wait("hello")
    # A signal without a name, too.
    (await process_of(supervisor, "one")).send_signal(signal.SIGRTMIN + 1)
    async with asyncio.timeout(30):
        await heard.wait("hello", times=2)
    supervisor.stop()

    assert await running == 0
    assert heard.lines[1] == f"one was ended by signal {signal.SIGRTMIN + 1}; it is started again in 0.2 s"
    assert [line.partition(":")[0] for line in heard.lines[2:4]] == ["one can't be started"] * 2


@pytest.mark.parametrize(("settled", "status", "ends_with"), [(False, 5, 1), (False, 2, 2), (True, 2, 2)])
async def test_what_can_not_start_stops_everything(settled: bool, status: int, ends_with: int) -> None:
    heard = Heard()
    supervisor = supervised(heard, [child("one")], [child("bad", f"raise SystemExit({status})")])
    supervisor.settled = settled

    assert await supervisor.run() == ends_with
    assert any(f"bad ended with status {status}" in line for line in heard.lines)


async def test_what_could_start_once_is_started_again_whatever_it_says() -> None:
    """The user's files are being replaced, say: the ingest beside it must not end for that."""
    heard = Heard()
    supervisor = supervised(heard, [child("one")], [child("two", "print('hello from two'); raise SystemExit(3)")])
    supervisor.settled = True
    running = asyncio.create_task(supervisor.run())
    await heard.wait("hello from two")
    [[_], [two]] = supervisor._stages
    two.command[2:3] = ["print('hello from two'); raise SystemExit(2)"]  # type: ignore[index]  # it is a list

    async with asyncio.timeout(30):
        await heard.wait("two ended with status 2; it is started again", times=2)
    supervisor.stop()

    assert await running == 0


async def test_a_child_is_told_something_in_each_of_its_lives() -> None:
    says = "import sys; print('heard', len(sys.stdin.read()), flush=True)"
    heard = Heard()
    # More than a pipe takes at once.
    supervisor = supervised(heard, [Child(name="one", command=[sys.executable, "-c", says], told=b"x" * 1_000_000)])
    supervisor.settled = True
    running = asyncio.create_task(supervisor.run())

    async with asyncio.timeout(30):
        await heard.wait("heard 1000000", times=2)
    supervisor.stop()

    assert await running == 0


async def test_a_child_that_does_not_end_in_its_grace_is_killed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.console.processes.supervisor._MORE_GRACE_S", 0.0)
    heard = Heard()
    supervisor = supervised(heard, [child("one", STUBBORN)], grace_s=0.1)
    running = asyncio.create_task(supervisor.run())
    await heard.wait("hello")

    supervisor.stop()

    assert await running == 1
    assert "one did not end within its grace, and is killed" in heard.lines


async def test_the_second_stop_kills() -> None:
    heard = Heard()
    supervisor = supervised(heard, [child("one", STUBBORN)])
    running = asyncio.create_task(supervisor.run())
    await heard.wait("hello")

    supervisor.stop()
    supervisor.stop()

    assert await running == 0


async def test_the_end_of_a_terminal_stops_once_however_often_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.console.processes.supervisor._MORE_GRACE_S", 0.0)
    heard, loop = Heard(), asyncio.get_running_loop()
    supervisor = supervised(heard, [child("one", STUBBORN)], grace_s=0.5)
    running = asyncio.create_task(supervisor.run())
    await heard.wait("hello")
    stop_on_signals(supervisor)

    signal.raise_signal(signal.SIGHUP)
    while not supervisor.is_stopping:
        await asyncio.sleep(0)
    signal.raise_signal(signal.SIGHUP)

    assert await running == 1
    assert "one did not end within its grace, and is killed" in heard.lines
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.remove_signal_handler(number)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    tied = (
        "import os, signal, sys; from forebay.console.processes.child import end_with; end_with(os.getppid());"
        "print(os.getpid(), flush=True); signal.pause()"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {tied!r}]).wait()",
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    grandchild = int(await parent.stdout.readline())
    died = os.pidfd_open(grandchild)
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(died, gone.set)

    os.kill(parent.pid, signal.SIGKILL)

    await gone.wait()
    asyncio.get_running_loop().remove_reader(died)
    os.close(died)
    await parent.wait()
