"""From the setting `queue_url` to what the client connects with."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from forebay.queues.errors import QueueError

from ..passwords import FILE_PARAMETER, Password, password
from ..urls import is_misleading

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
    if is_misleading(url):
        raise QueueError(_SHAPE)
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
        database = int(unquote(parts.path).strip("/") or 0)
    except ValueError:
        # Its words may be a part of the password.
        raise QueueError(_SHAPE) from None
    return _address(parts, port, database, _parameters(parts))


def _address(parts: SplitResult, port: int, database: int, given: dict[str, str]) -> Address:
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


def _parameters(parts: SplitResult) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(given.keys() - set(_PARAMETERS)):
        raise QueueError(f"queue_url: redis has no parameter {unknown[0]!r}; there are {', '.join(_PARAMETERS)}")
    if given.get("fsync", "always") not in FSYNC:
        raise QueueError(f"queue_url: fsync is one of {', '.join(FSYNC)}")
    if not given.get("replicas", "0").isdecimal():
        raise QueueError("queue_url: replicas is how many replicas must have an event before it counts as kept, as 1")
    if parts.scheme != "rediss" and {"ssl_ca", "ssl_cert", "ssl_key"} & given.keys():
        raise QueueError("queue_url: ssl_ca, ssl_cert and ssl_key go with rediss:// only")
    return given
