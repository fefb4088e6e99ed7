"""The output of child processes, line by line, so that it does not break into a status line."""

import asyncio
import os
from collections.abc import Callable

_CHUNK_BYTES = 65_536

#: What was written last is read so long after the writers are gone.
_LAST_WORDS_S = 1.0


class Relay:
    """Gives file descriptors to write to, and passes on each line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._readers: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """A new descriptor for a child's output; the caller closes its own copy once the child has it.

        Not subprocess.PIPE: with that, waiting for a child also waits for its grandchildren to let go of the pipe.
        """
        reading, writing = os.pipe()
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(reading, "rb", 0)
        )
        task = asyncio.create_task(self._pass_on(lines, transport))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)
        return writing

    async def close(self) -> None:
        """Pass on what is left."""
        if self._readers:
            _, open_ones = await asyncio.wait(list(self._readers), timeout=_LAST_WORDS_S)
            for task in open_ones:
                task.cancel()
            await asyncio.gather(*open_ones, return_exceptions=True)

    async def _pass_on(self, output: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        rest = b""
        try:
            while chunk := await output.read(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for text in lines:
                    self._say(text.decode(errors="replace"))
        finally:
            transport.close()
        if rest:
            self._say(rest.decode(errors="replace"))
