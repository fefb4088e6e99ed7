"""The output of children: said line by line, on the loop of the commands and on asyncio's own."""

import asyncio
import os
from collections.abc import Callable

import pytest

from forebay.console.processes.relay import Relay
from forebay.queues.threads.loop import new_event_loop

pytestmark = pytest.mark.parametrize("loop_factory", [new_event_loop, asyncio.new_event_loop])

Factory = Callable[[], asyncio.AbstractEventLoop]


def test_lines_of_two_children_stay_whole_and_a_last_one_needs_no_end(loop_factory: Factory) -> None:
    said: list[str] = []

    async def two_children() -> None:
        relay = Relay(said.append)
        one, other = relay.open(), relay.open()
        for to, text in ((one, "a lo"), (other, "another\nthe la"), (one, "ng line\n\nand more\n"), (other, "st")):
            os.write(to, text.encode())
            await asyncio.sleep(0)
        os.close(one)
        os.close(other)
        await relay.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(two_children())

    assert [line for line in said if line in ("another", "the last")] == ["another", "the last"]
    assert [line for line in said if line not in ("another", "the last")] == ["a long line", "", "and more"]


def test_who_keeps_a_pipe_open_is_not_waited_for(loop_factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.console.processes.relay._LAST_WORDS_S", 0.1)
    said: list[str] = []

    async def a_grandchild() -> int:
        relay = Relay(said.append)
        grandchilds = relay.open()
        os.write(grandchilds, b"still here")
        await relay.close()
        return grandchilds

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        left = runner.run(a_grandchild())

    assert said == ["still here"]
    with pytest.raises(BrokenPipeError):
        os.write(left, b"nobody reads this")
    os.close(left)
