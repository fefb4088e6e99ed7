"""The event loop of our processes: uvloop's, whose end waits for no resolver."""

import socket
from functools import partial
from typing import Any

import uvloop

from .daemons import Threads

#: So many names are looked up at once. A resolver whose name server is away takes ten seconds for one, and a minute or
#: more where it has a search list, as in Kubernetes.
_NAMES = 8


class Loop(uvloop.Loop):
    """As `uvloop.Loop`, but a name that it looks up keeps no process from ending.

    `create_connection` looks names up in libuv's own threads, for which its end waits: give that an address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._names = Threads(_NAMES, "forebay-names")

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """As in asyncio."""
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        try:
            return await self.run_in_executor(self._names, look_up)
        except RuntimeError as error:
            # The system has no thread for it just now.
            raise socket.gaierror(socket.EAI_AGAIN, str(error)) from error


def new_event_loop() -> Loop:
    """A new loop, for this thread to run."""
    return Loop()
