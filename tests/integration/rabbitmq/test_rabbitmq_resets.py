"""A connection that is reset while more lies there than is read at once."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest
from pika.adapters.utils import io_services_utils

from forebay.queues.contract import Producer
from forebay.queues.errors import QueueUnavailable
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.logs import partition_log
from tests.integration.queues.members import STREAM, send_all

RECORDS, HELD_BYTES = 400, 20_000
#: Of close(): what lies there is not sent, and the other side is told of a reset.
RESETS = struct.pack("ii", 1, 0)
LONG_S = 30


class Line:
    """Between us and the node. From a moment on it holds what the node sends, and resets right behind that."""

    def __init__(self) -> None:
        self.holds, self.has_much, self.lets_go, self.is_reset = Event(), Event(), Event(), Event()

    def run(self, listening: socket.socket, port: int) -> None:
        ours, _ = listening.accept()
        with socket.create_connection(("127.0.0.1", port)) as theirs, ours:
            held = b""
            while len(held) < HELD_BYTES:
                for one in select([ours, theirs], [], [])[0]:
                    if not (sent := one.recv(65_536)):
                        return
                    if one is ours:
                        theirs.sendall(sent)
                    elif self.holds.is_set():
                        held += sent
                    else:
                        ours.sendall(sent)
            self.has_much.set()
            self.lets_go.wait()
            ours.sendall(held)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
        self.is_reset.set()


@contextmanager
def a_line(url: str) -> Iterator[tuple[Line, str]]:
    line, port = Line(), urlsplit(url).port or 0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=line.run, args=(listening, port), daemon=True)
        thread.start()
        yield line, url.replace(f":{port}/", f":{listening.getsockname()[1]}/")
        line.lets_go.set()


async def test_a_connection_that_was_reset_behind_much_that_came_is_lost(
    producer: Producer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = await send_all(producer, RECORDS)
    # By itself 100 kB, which lie there when a process was frozen for a while.
    monkeypatch.setattr(io_services_utils._AsyncTransportBase, "_MAX_CONSUME_BYTES", 1)
    with a_line(url) as (line, through):
        connection = await Connection(address(through), "test", heartbeat_s=600.0).open()
        lost = asyncio.get_running_loop().create_future()
        connection.on_lost = lost.set_result
        channel = await connection.channel()
        await channel.prefetch(RECORDS)
        line.holds.set()
        log = partition_log(STREAM, partition)
        reading = asyncio.create_task(channel.consume(log, "first", lambda *_: None))
        await asyncio.to_thread(line.has_much.wait, LONG_S)

        # The loop stands still meanwhile.
        line.lets_go.set()
        assert line.is_reset.wait(LONG_S)

        async with asyncio.timeout(LONG_S):
            await lost
        with suppress(QueueUnavailable):
            # The answer may have been what came last.
            await reading
        with pytest.raises(QueueUnavailable):
            await connection.channel()
        await connection.close()
