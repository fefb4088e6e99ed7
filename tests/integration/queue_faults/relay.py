"""A TCP relay between us and the server, which breaks the connection at a word, as it is told: at a COMMIT."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

from forebay.queues.contract import Position, Producer
from tests.integration.queues.members import STREAM, record
from tests.serving import serving

_CHUNK = 65_536


class Relay:
    """Passes everything on. Set one of the three, and the next word is that of a broken connection."""

    def __init__(self, host: str, port: int, word: bytes) -> None:
        self._host, self._port, self._word = host, port, word
        #: The server hears of the word; its answer does not come back.
        self.lose_answer = False
        #: The server does not hear of it, and sees that we are gone.
        self.lose_commit = False
        #: The server does not hear of it, nor that we are gone, as when a machine dies.
        self.leave_open = False
        #: Nobody new comes through.
        self.shut = False

    def lead_to(self, port: int) -> None:
        """Whoever comes from now on comes to the server at this port; those who are there stay where they are."""
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        if self.shut:
            writer.transport.abort()
            return
        theirs, ours = await asyncio.open_connection(self._host, self._port)
        answers = asyncio.create_task(self._pass_on(theirs, writer))
        try:
            while (sent := await _read(reader)) and not self._is_cut(sent):
                ours.write(sent)
            if sent and self.lose_answer:
                # It comes, so the server has done it; but not to us.
                writer.transport.abort()
                ours.write(sent)
                await answers
            writer.transport.abort()
            is_left_open = sent and self.leave_open
            if sent:
                self.lose_answer = self.lose_commit = self.leave_open = False
            if is_left_open:
                await answers
        finally:
            ours.close()
            await answers

    def _is_cut(self, sent: bytes) -> bool:
        return self._word in sent and (self.lose_answer or self.lose_commit or self.leave_open)

    async def _pass_on(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (answer := await _read(theirs)) and not writer.is_closing():
            writer.write(answer)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(_CHUNK)
    except ConnectionError:
        return b""


@asynccontextmanager
async def relayed(url: str, plain: str, word: bytes = b"COMMIT") -> AsyncIterator[tuple[Relay, str]]:
    """A relay, and the URL that leads through it. `plain` is the URL's parameter against TLS."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    relay = Relay(parts.hostname, parts.port, word)
    user, at, _ = parts.netloc.rpartition("@")
    async with serving(relay.serve) as port:
        # What is cut is found in what is sent, which TLS would hide.
        yield relay, urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}", query=plain))


async def sent_through(relay: Relay, producer: Producer, how: str) -> list[Position | BaseException]:
    """What became of records 0 to 5, of which 1 to 4 are in the batch that meets the broken connection."""
    outcomes: list[Position | BaseException] = [await producer.send(STREAM, record(0))]
    setattr(relay, how, True)
    outcomes += await asyncio.gather(*(producer.send(STREAM, record(n)) for n in range(1, 5)), return_exceptions=True)
    return [*outcomes, await producer.send(STREAM, record(5))]
