"""The event loop as pika needs it: it tells of a connection that broke until all that came over it was read."""

import asyncio
from collections.abc import Callable
from typing import Any


class Watching:
    """The loop, for one connection.

    uvloop tells once of a connection that was reset, and watches it no more. pika reads 100 kB when it is told: with
    more on the way it heard neither the rest nor of the end, and its next word was a `RuntimeError`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: dict[int, Callable[[], object]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_reader(self, fd: int, read: Callable[[], object]) -> None:
        """As in asyncio, for a file's number."""
        self._readers[fd] = read
        self._watch(self._loop.add_reader, fd, lambda: self._read(fd, read))

    def remove_reader(self, fd: int) -> bool:
        """As in asyncio."""
        self._readers.pop(fd, None)
        return self._loop.remove_reader(fd)

    def add_writer(self, fd: int, write: Callable[[], object]) -> None:
        """As in asyncio."""
        self._watch(self._loop.add_writer, fd, write)

    def _watch(self, add: Callable[..., None], fd: int, callback: Callable[[], object]) -> None:
        try:
            add(fd, callback)
        except RuntimeError:
            # It is watched no more, and has to be forgotten before it can be anew.
            self._loop.remove_reader(fd)
            add(fd, callback)

    def _read(self, fd: int, read: Callable[[], object]) -> None:
        # Not at once: what stands here now is forgotten behind this call.
        self._loop.call_soon(self._go_on, fd, read)
        read()

    def _go_on(self, fd: int, read: Callable[[], object]) -> None:
        if self._readers.get(fd) is read:
            self.add_reader(fd, read)
