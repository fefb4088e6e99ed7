"""Threads for calls that may never come back."""

import asyncio
import subprocess
import sys
from concurrent.futures import Future
from threading import Event, Thread
from typing import Any

import pytest

from forebay.queues.threads import daemons
from forebay.queues.threads.daemons import Threads

ENDLESS = """
import asyncio
from threading import Event
from forebay.queues.threads.daemons import Threads

async def main():
    with_pool = asyncio.get_running_loop().run_in_executor(Threads(1, "endless"), Event().wait)
    await asyncio.wait([with_pool], timeout=0.01)

asyncio.run(main())
"""


def test_a_call_that_never_comes_back_keeps_no_process() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 0, ended.stderr


async def test_no_more_than_so_many_run_at_once_and_all_have_their_turn() -> None:
    made, may_go, begun = Threads(2, "test"), Event(), []
    loop = asyncio.get_running_loop()

    def call(number: int) -> int:
        begun.append(number)
        may_go.wait()
        return number

    asked = [loop.run_in_executor(made, call, number) for number in range(5)]
    while len(begun) < 2:
        await asyncio.sleep(0)
    assert sorted(begun) == [0, 1]
    may_go.set()

    assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
    await asyncio.wrap_future(made.end(list))


async def test_the_last_call_is_made_though_nobody_waits_for_it() -> None:
    made, may_go, called = Threads(1, "test"), Event(), Event()
    running: Future[Any] = made.submit(may_go.wait)
    taken_back = made.submit(called.set)
    assert taken_back.cancel()

    last = asyncio.wrap_future(made.end(called.set))
    last.cancel()
    assert not called.is_set()
    may_go.set()

    assert running.result(10)
    assert called.wait(10)


def test_where_the_system_has_no_thread_those_that_are_there_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unborn(Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    made, may_go = Threads(2, "test"), Event()
    first: Future[Any] = made.submit(may_go.wait)
    monkeypatch.setattr(daemons, "Thread", Unborn)

    second = made.submit(lambda: 2)
    with pytest.raises(RuntimeError):
        Threads(1, "none").submit(lambda: 3)

    may_go.set()
    assert (first.result(10), second.result(10)) == (True, 2)
    made.shutdown()
