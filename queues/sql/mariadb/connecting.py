"""A connection to MariaDB as ours are: dead ones are noticed, and what a session rests on is set."""

import socket
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from ...threads.sockets import has_come
from .address import Address

#: Seconds for the whole of connecting; a server that hangs in the middle of it is one that is away.
_CONNECT_S = 5

#: Bytes that are taken from the socket at once. With the client's own 8 KiB it lets go of the GIL a hundred times in
#: one answer, and each time waits until the event loop lets it go on.
_BUFFER = 1 << 20

#: A server whose machine is gone, or a network that swallows packets, is noticed after some ten seconds in which
#: nothing comes back, and not after the system's two hours. Names of `socket`, since not every system has all of them.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}


def connect(address: Address, session: dict[str, object]) -> Any:
    """A new connection in autocommit mode, with these settings of the session."""
    opened = pymysql.Connection(
        host=address.host,
        port=address.port,
        unix_socket=address.socket,
        user=address.user,
        # As bytes: the client would encode it as Latin 1.
        password=address.password.now().encode(),
        database=address.database,
        charset="utf8mb4",
        autocommit=True,
        binary_prefix=True,
        # An UPDATE tells how many rows it found: a commit of what is committed already is one that counts.
        client_flag=CLIENT.FOUND_ROWS,
        program_name="forebay",
        connect_timeout=_CONNECT_S,
        read_timeout=_CONNECT_S,
        write_timeout=_CONNECT_S,
        ssl_disabled=address.tls == "off",
        ssl=address.context(),
    )
    try:
        _prepare(opened, session)
    except BaseException:
        opened.close()
        raise
    return opened


def _prepare(opened: Any, session: dict[str, object]) -> None:
    with opened.cursor() as cursor:
        cursor.execute("SET " + ", ".join(f"SESSION {name} = %s" for name in session), list(session.values()))
    # From here on a statement takes as long as it takes, and the socket tells of a server that is gone. The client has
    # no other way to its socket.
    opened._read_timeout = opened._write_timeout = None
    for name, value in _KEEPALIVE.items():
        if opened._sock.family != socket.AF_UNIX and hasattr(socket, name):
            opened._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    opened._rfile = opened._sock.makefile("rb", _BUFFER)


def lives(opened: Any) -> bool:
    """Whether the server has not gone away while we did nothing: what it says unasked is its farewell."""
    return opened.open and not has_come(opened._sock.fileno())
