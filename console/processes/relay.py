"""The output of child processes, line by line, so that it does not break into a status line."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

_CHUNK_BYTES = 65_536

#: What was written last is read so long after the writers are gone.
_LAST_WORDS_S = 1.0


class Relay:
    """Gives file descriptors to write to, and passes on each line. Used on the event loop."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        #: What was read of the line that has no end yet, of each pipe that somebody may still write to.
        self._rests: dict[int, bytes] = {}
        self._ended = asyncio.Event()

    def open(self) -> int:
        """A new descriptor for a child's output; the caller closes its own copy once the child has it.

        Not subprocess.PIPE: with that, waiting for a child also waits for its grandchildren to let go of the pipe. And
        not connect_read_pipe: uvloop closes a file twice, and by then its number may be another file's.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._rests[reading] = b""
        asyncio.get_running_loop().add_reader(reading, self._pass_on, reading)
        return writing

    async def close(self) -> None:
        """Pass on what is left."""
        self._ended.clear()
        if self._rests:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _LAST_WORDS_S)
        for reading in list(self._rests):
            self._end(reading)

    def _pass_on(self, reading: int) -> None:
        try:
            chunk = os.read(reading, _CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, self._rests[reading] = (self._rests[reading] + chunk).split(b"\n")
        for text in lines:
            self._say(text.decode(errors="replace"))
        if not chunk:
            self._end(reading)

    def _end(self, reading: int) -> None:
        asyncio.get_running_loop().remove_reader(reading)
        os.close(reading)
        if rest := self._rests.pop(reading):
            self._say(rest.decode(errors="replace"))
        if not self._rests:
            self._ended.set()
