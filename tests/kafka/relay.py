"""A TCP relay in front of a broker: it can keep a request to itself, and say that the cluster has no brokers."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.serving import serving

from .mock_cluster import Api

#: A request begins with its kind, its version and its number; an answer with the number.
_HEAD = struct.Struct(">hhi")
_NUMBER = struct.Struct(">i")

_NO_CONTROLLER = _NUMBER.pack(-1)
_EMPTY = b"\x01"

#: From here on Metadata is written in the compact form, which is the only one that is read here.
_COMPACT = 9


class Relay:
    """Passes everything on, but what it is told not to."""

    def __init__(self, port: int) -> None:
        self._port = port
        #: So many of the next requests for metadata are never answered.
        self.swallow = 0
        #: So many of the next answers name no broker, as those of a broker that is fenced.
        self.hollow = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        self.connections += 1
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        asked: dict[int, tuple[int, int]] = {}
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await asyncio.gather(self._ask(reader, ours, asked), self._answer(theirs, writer, asked))
        finally:
            for end in (writer, ours):
                end.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            request = await _read(reader)
            kind, version, number = _HEAD.unpack_from(request)
            asked[number] = kind, version
            if kind == Api.METADATA and self.swallow:
                self.swallow -= 1
            else:
                _write(ours, request)

    async def _answer(
        self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            answer = await _read(theirs)
            kind, version = asked.pop(_NUMBER.unpack_from(answer)[0])
            if kind == Api.METADATA and self.hollow:
                self.hollow -= 1
                answer = _without_brokers(answer, version)
            _write(writer, answer)


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _NUMBER.unpack(await reader.readexactly(_NUMBER.size))
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(_NUMBER.pack(len(frame)) + frame)


def _without_brokers(answer: bytes, version: int) -> bytes:
    """The same answer of a cluster that has none."""
    assert version >= _COMPACT
    # Behind the number: tags, of which there are none, and the time that the client is held back.
    at = brokers = _NUMBER.size + 1 + 4
    count, at = _length(answer, at)
    for _ in range(count - 1):
        at = _past_text(answer, at + 4)
        at = _past_text(answer, at + 4) + 1
    cluster = _past_text(answer, at)
    controller = cluster + 4
    return answer[:brokers] + _EMPTY + answer[at:cluster] + _NO_CONTROLLER + answer[controller:]


def _past_text(answer: bytes, at: int) -> int:
    length, at = _length(answer, at)
    return at + max(0, length - 1)


def _length(answer: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends; of what has that length there is one less."""
    value = shift = 0
    while True:
        byte = answer[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


@asynccontextmanager
async def relayed(port: int) -> AsyncIterator[tuple[Relay, int]]:
    """A relay to the broker at the port, and its own port."""
    relay = Relay(port)
    async with serving(relay.serve) as through:
        yield relay, through
