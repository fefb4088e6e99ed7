"""Whether an address can be listened on, asked before anything is started that would try again and again."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from .errors import WrongUsage

if TYPE_CHECKING:
    from forebay.console.settings import Settings

#: A worker of gunicorn sees after a second at most that it is alone.
_TRIES, _AGAIN_S = 8, 0.25


class _InUse(WrongUsage):
    """Somebody listens there."""


async def wait_until_all_free(settings: "Settings") -> None:
    """Of every address of an ingest. Raises `WrongUsage` as `wait_until_free` does."""
    _refuse_sockets_of_others()
    for name, address in (("bind", settings.bind), ("metrics_bind", settings.metrics_bind)):
        if address:
            await wait_until_free(name, address)


def _refuse_sockets_of_others() -> None:
    """gunicorn would listen on them alone, and nobody at the addresses of the settings, which `doctor` looks at."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0":
        raise WrongUsage(
            "systemd hands over sockets to listen on (LISTEN_FDS, a .socket unit), which are not taken: "
            "disable that unit; bind and metrics_bind say where to listen"
        )


async def wait_until_free(name: str, address: str, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
    """Give what was killed a moment ago the time to end; then raise `WrongUsage` if somebody still listens there."""
    for _ in range(_TRIES):
        with suppress(_InUse):
            return check_free(name, address)
        await sleep(_AGAIN_S)
    check_free(name, address)


def check_free(name: str, address: str) -> None:
    """Raise `WrongUsage` when the address of the setting `name` can't be listened on."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: connections of one that ended a moment ago are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _InUse(
                f"{name} {address} is in use by another process; stop it or set {name} to another address"
            ) from error
        raise WrongUsage(f"{name} {address} can't be listened on: {error.strerror or error}") from error
