"""A connection that is closed is closed, also where nobody waits for that any more."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import membership
from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower
from tests.integration.rabbitmq.relay import relayed
from tests.serving import serving

_CHUNK = 65_536


async def test_a_close_that_is_cancelled_hangs_up(url: str) -> None:
    node = urlsplit(url).port
    is_silent, said_good_bye, hung_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", node)

        async def answer() -> None:
            while (answered := await theirs.read(_CHUNK)) and not is_silent.is_set():
                writer.write(answered)

        answering = asyncio.create_task(answer())
        with suppress(ConnectionError):
            while asked := await reader.read(_CHUNK):
                ours.write(asked)
                if is_silent.is_set():
                    said_good_bye.set()
        hung_up.set()
        ours.close()
        await answering

    async with serving(serve) as port:
        connection = await Connection(address(url.replace(f":{node}/", f":{port}/")), "test").open()
        is_silent.set()
        closing = asyncio.create_task(connection.close())
        await said_good_bye.wait()

        closing.cancel()

        async with asyncio.timeout(10):
            await hung_up.wait()


async def test_starts_that_fail_one_after_the_other_leave_no_connection_open(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relayed(url) as (relay, through):
        consumer = open_queue(QueueSettings(queue_url=through)).consumer(STREAM, "group")
        with monkeypatch.context() as patched:
            patched.setattr(membership.Membership, "_know", _unknown)
            for _ in range(3):
                with pytest.raises(QueueUnavailable, match="nobody knows the group"):
                    await consumer.start(Follower())
        # That of the last stays, which the next start or the close lets go of; the node hangs up a moment later.
        async with asyncio.timeout(10):
            while relay.connections > 1:
                await asyncio.sleep(0.01)
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)
        await consumer.close()
        async with asyncio.timeout(10):
            while relay.connections:
                await asyncio.sleep(0.01)


async def _unknown(member: membership.Membership) -> None:
    raise QueueUnavailable("nobody knows the group")
