"""A connection that is closed is closed, also where nobody waits for that any more."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from forebay.queues.rabbitmq.address import address
from forebay.queues.rabbitmq.connection import Connection
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
