"""From the setting `queue_url` to what the client connects with."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote

from forebay.queues.errors import QueueError

from ..passwords import FILE_PARAMETER, Password, password
from ..urls import parameters, split

_PORT = 6379

_SHAPE = (
    f"queue_url: write redis://user:password@host:{_PORT}/0 (rediss:// with TLS), where 0 is the database's number, "
    "with %40 for @ in a password, %3A for :, %2F for /, %3F for ?, %25 for %, and so on"
)

#: What may follow the `?`.
_PARAMETERS = ("fsync", FILE_PARAMETER, "replicas", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket")

#: What the server must at least do before it answers: write to the disk; write once a second; nothing.
FSYNC = ("always", "everysec", "no")

#: Seconds within which a server must answer the connection, and each question.
_CONNECT_S = 5.0
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """Where the server is, who we are, and what we rely on."""

    host: str
    port: int
    user: str
    password: Password
    database: int
    tls: bool
    fsync: str
    replicas: int
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    socket: str | None = None

    @property
    def name(self) -> str:
        """The database as a person calls it, without user and password."""
        where = self.socket or (self.host if self.port == _PORT else f"{self.host}:{self.port}")
        return f"{'rediss' if self.tls else 'redis'}://{where}/{self.database}"

    def options(self) -> dict[str, Any]:
        """For the client of one connection. Raises `OSError` when the password's file can't be read."""
        who = {"username": self.user or None, "password": self.password.now() or None, "db": self.database}
        limits = {"socket_connect_timeout": _CONNECT_S, "socket_timeout": _ANSWER_S}
        where = {"unix_socket_path": self.socket} if self.socket else self._network()
        return {**who, **limits, **where}

    def _network(self) -> dict[str, Any]:
        network = {"host": self.host, "port": self.port, "socket_keepalive": True}
        if self.tls:
            files = {"ssl_ca_certs": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
            network |= {"ssl": True, "ssl_check_hostname": True, **files}
        return network


def address(url: str) -> Address:
    """What the URL says. Raises `QueueError`, which quotes nothing of the URL but names of parameters."""
    parts, port = split(url, _SHAPE, _PORT)
    # Before the parameters, whose names are quoted: where this is no number, they may be a part of the password.
    database, given = _database(parts), _parameters(parts)
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        user=unquote(parts.username or ""),
        password=password(unquote(parts.password or ""), given.get(FILE_PARAMETER)),
        database=database,
        tls=parts.scheme == "rediss",
        fsync=given.get("fsync", "always"),
        replicas=int(given.get("replicas", 0)),
        ca=given.get("ssl_ca"),
        certificate=given.get("ssl_cert"),
        key=given.get("ssl_key"),
        socket=given.get("unix_socket"),
    )


def _database(parts: SplitResult) -> int:
    try:
        return int(unquote(parts.path).strip("/") or 0)
    except ValueError:
        raise QueueError(_SHAPE) from None


def _parameters(parts: SplitResult) -> dict[str, str]:
    given = parameters(parts.query, "redis", _PARAMETERS)
    if given.get("fsync", "always") not in FSYNC:
        raise QueueError(f"queue_url: fsync is one of {', '.join(FSYNC)}")
    if not given.get("replicas", "0").isdecimal():
        raise QueueError("queue_url: replicas is how many replicas must have an event before it counts as kept, as 1")
    if parts.scheme != "rediss" and {"ssl_ca", "ssl_cert", "ssl_key"} & given.keys():
        raise QueueError("queue_url: ssl_ca, ssl_cert and ssl_key go with rediss:// only")
    return given
