"""One child process, from its parent's side."""

import asyncio
import json
import pickle
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Sequence
from contextlib import suppress

from forebay.processors.errors import BadHandler
from forebay.processors.forks import leave_to_us

from .child import LENGTH, READY, Call
from .ending import how_ended

#: What the child runs: our path first, so that it finds us and the user's modules where we did.
_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from forebay.processors.cpu.child import main
main(int(sys.argv[1]))
"""

#: Importing the user's module may take a while, but not for ever.
_START_S = 60.0

#: One that has nothing to do ends when its connection does.
_END_S = 2.0


class Gone(Exception):
    """The process ended; the message says how."""


class Process:
    """Starts with `started`. Of several calls each is answered in turn."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def started(cls, functions: bytes) -> "Process":
        """A process that has the functions. Raises `BadHandler` when it can't import them, `Gone`, `OSError`."""
        ours, theirs = socket.socketpair()
        # By its end the process knows of ours.
        leave_to_us(ours)
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",
                    "-c",
                    _BOOT,
                    str(theirs.fileno()),
                    json.dumps(sys.path),
                    stdin=DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                ours.close()
                raise
        made = cls(process, *await asyncio.open_connection(sock=ours))
        try:
            await made._begin(functions)
        except BaseException:
            made.kill()
            await made.ended()
            raise
        return made

    async def _begin(self, functions: bytes) -> None:
        self._send(functions)
        async with asyncio.timeout(_START_S):
            answer = await self.answer()
        if answer != READY:
            raise BadHandler(f"a process for cpu=True can't import its handlers: {answer.decode(errors='replace')}")

    @property
    def is_gone(self) -> bool:
        """Whether it ended by itself, while it had nothing to do."""
        return self._reader.at_eof()

    def give(self, calls: Sequence[Call]) -> None:
        """Let it make these calls, one after the other."""
        self._send(pickle.dumps(calls))

    async def answer(self) -> bytes:
        """What the next call came to. Raises `Gone`."""
        try:
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            raise Gone(how_ended(await self._process.wait())) from None

    def kill(self) -> None:
        """End it at once, whatever it does."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def close(self) -> None:
        """Let it end: it has nothing to do."""
        self._writer.close()
        try:
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        await self.ended()

    async def ended(self) -> None:
        """Return when it is no more."""
        await self._process.wait()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def _send(self, message: bytes) -> None:
        self._writer.write(LENGTH.pack(len(message)) + message)
