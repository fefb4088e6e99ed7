"""A server of a test's own leaves no connection behind, whenever somebody comes."""

import asyncio
import gc
import socket
import warnings
from contextlib import suppress

import pytest

from tests.serving import serving


@pytest.mark.parametrize("turns", range(6))
def test_whoever_comes_as_it_ends_is_let_go_of(turns: int) -> None:
    async def come() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with serving(serve) as port:
            caller = socket.create_connection(("127.0.0.1", port))
            for _ in range(turns):
                await asyncio.sleep(0)
        with caller, suppress(ConnectionError):
            assert caller.recv(1) == b""

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(come())
        gc.collect()
    assert told == []
