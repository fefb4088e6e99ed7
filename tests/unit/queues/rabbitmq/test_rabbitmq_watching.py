"""A connection that was reset while more lies there than is read at once."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import closing

import pytest

from forebay.queues.rabbitmq.watching import Watching
from forebay.queues.threads.loop import new_event_loop

SENT, AT_ONCE = 60_000, 7_000
RESETS = struct.pack("ii", 1, 0)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "ours": new_event_loop}


def broken() -> socket.socket:
    """A connection over which so much came, and then its reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    theirs.sendall(bytes(SENT))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
    theirs.close()
    ours.setblocking(False)
    return ours


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("writes", [False, True], ids=["reads", "writes-too"])
def test_all_that_came_is_read_and_then_the_end_is_heard(
    loop: Callable[[], asyncio.AbstractEventLoop], writes: bool
) -> None:
    async def heard() -> tuple[int, BaseException]:
        watching, ended, found = Watching(asyncio.get_running_loop()), asyncio.Event(), list[int]()
        errors = list[OSError]()

        def read() -> None:
            try:
                found.append(len(wire.recv(AT_ONCE)))
            except OSError as error:
                errors.append(error)
                watching.remove_reader(wire.fileno())
                ended.set()
            if writes and not errors:
                watching.call_soon(watching.add_writer, wire.fileno(), lambda: watching.remove_writer(wire.fileno()))

        with closing(broken()) as wire:
            watching.add_reader(wire.fileno(), read)
            async with asyncio.timeout(20):
                await ended.wait()
        return sum(found), errors[0]

    with asyncio.Runner(loop_factory=loop) as runner:
        size, error = runner.run(heard())

    assert size == SENT
    assert isinstance(error, ConnectionResetError)
