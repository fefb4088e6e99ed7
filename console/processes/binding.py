"""Whether an address can be listened on, asked before anything is started that would try again and again."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from forebay.console.errors import WrongUsage

if TYPE_CHECKING:
    from forebay.console.settings import Settings

#: A worker of gunicorn sees after a second at most that it is alone.
_TRIES, _AGAIN_S = 8, 0.25

#: Where the first socket is that systemd hands over (sd_listen_fds(3)).
_FIRST_HANDED_OVER = 3


class _InUse(WrongUsage):
    """Somebody listens there."""


async def wait_until_all_free(settings: "Settings") -> range:
    """Of every address of an ingest, as `wait_until_ours`."""
    named = {"bind": settings.bind, "metrics_bind": settings.metrics_bind}
    return await wait_until_ours({name: address for name, address in named.items() if address})


async def wait_until_ours(addresses: Mapping[str, str]) -> range:
    """Of all these addresses, which have the names of their settings. Raises `WrongUsage` as `wait_until_free` does.

    Where systemd hands over sockets (a .socket unit), they must be those of the addresses, since gunicorn listens on
    them alone, and their numbers are returned.
    """
    if sockets := _handed_over():
        _check_handed_over(addresses, sockets)
    else:
        for name, address in addresses.items():
            await wait_until_free(name, address)
    return sockets


def hand_over(sockets: int) -> None:
    """To gunicorn in this process: so many, which a parent has from systemd, and which have the same numbers here."""
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(sockets)}


def _handed_over() -> range:
    is_ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = int(os.environ.get("LISTEN_FDS") or 0) if is_ours else 0
    return range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + count)


def _check_handed_over(addresses: Mapping[str, str], sockets: range) -> None:
    wanted = {_resolved(name, address): name for name, address in addresses.items()}
    for number in sockets:
        where = _listens_at(number)
        if wanted.pop(where, None) is None:
            host, port = where
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            names = " or ".join(f"{name} {address}" for name, address in addresses.items())
            raise WrongUsage(
                f"systemd hands over a socket at {shown}, which is not at {names}: make ListenStream in the .socket "
                "unit and the setting the same"
            )
    for name in wanted.values():
        raise WrongUsage(
            f"systemd hands over sockets, and none at {name} {addresses[name]}: add ListenStream={addresses[name]} to "
            "the .socket unit"
        )


def _resolved(name: str, address: str) -> tuple[str, int]:
    host, port = _found(name, address)[-1][:2]
    return str(host), int(port)


def _listens_at(number: int) -> tuple[str, int]:
    try:
        with socket.socket(fileno=os.dup(number)) as handed:
            if handed.family in (socket.AF_INET, socket.AF_INET6) and handed.type is socket.SOCK_STREAM:
                host, port = handed.getsockname()[:2]
                return host, port
    except OSError as error:
        raise WrongUsage(f"systemd says that it hands over socket {number}, which is none: {error.strerror}") from error
    raise WrongUsage("systemd hands over a socket that is not TCP's: ListenStream takes an address and a port")


async def wait_until_free(name: str, address: str, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
    """Give what was killed a moment ago the time to end; then raise `WrongUsage` if somebody still listens there."""
    for _ in range(_TRIES):
        with suppress(_InUse):
            return check_free(name, address)
        await sleep(_AGAIN_S)
    check_free(name, address)


def check_free(name: str, address: str) -> None:
    """Raise `WrongUsage` when the address of the setting `name` can't be listened on."""
    family, kind, protocol, _, where = _found(name, address)
    try:
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: connections of one that ended a moment ago are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _InUse(
                f"{name} {address} is in use by another process; stop it or set {name} to another address"
            ) from error
        raise _not_to_be_had(name, address, error) from error


def _found(name: str, address: str) -> tuple[int, int, int, str, tuple[Any, ...]]:
    host, _, port = address.rpartition(":")
    try:
        return socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise _not_to_be_had(name, address, error) from error


def _not_to_be_had(name: str, address: str, error: OSError) -> WrongUsage:
    return WrongUsage(f"{name} {address} can't be listened on: {error.strerror or error}")
