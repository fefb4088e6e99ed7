"""From the setting `queue_url` to what the client connects with."""

import ssl
from dataclasses import dataclass
from urllib.parse import unquote

from forebay.queues.errors import QueueError

from ...passwords import FILE_PARAMETER, Password, password
from ...urls import parameters, shape, split

_PORT = 3306

_SHAPE = shape("mariadb", _PORT)

#: What may follow the `?`.
_PARAMETERS = (FILE_PARAMETER, "ssl", "ssl_ca", "ssl_cert", "ssl_key", "unix_socket")

#: TLS: never; where the server has it, whoever it is; or only with the server that the certificate names.
_TLS = ("off", "prefer", "verify")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """Where the server is, who we are, and what protects the way."""

    host: str
    port: int
    user: str
    password: Password
    database: str
    tls: str
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    socket: str | None = None

    @property
    def name(self) -> str:
        """The database as a person calls it, without user and password."""
        where = self.socket or (self.host if self.port == _PORT else f"{self.host}:{self.port}")
        return f"mariadb://{where}/{self.database}"

    def context(self) -> ssl.SSLContext | None:
        """What the server has to prove; None when nothing. Raises `OSError` when a file can't be read."""
        if self.tls != "verify":
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


def address(url: str) -> Address:
    """What the URL says. Raises `QueueError`, which quotes nothing of the URL but names of parameters."""
    parts, port = split(url, _SHAPE, _PORT)
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise QueueError(f"{_SHAPE}: it names no database")
    given = _parameters(parts.query)
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        user=unquote(parts.username or ""),
        password=password(unquote(parts.password or ""), given.get(FILE_PARAMETER)),
        database=database,
        tls=given.get("ssl", "verify" if {"ssl_ca", "ssl_cert"} & given.keys() else "prefer"),
        ca=given.get("ssl_ca"),
        certificate=given.get("ssl_cert"),
        key=given.get("ssl_key"),
        socket=given.get("unix_socket"),
    )


def _parameters(query: str) -> dict[str, str]:
    given = parameters(query, "mariadb", _PARAMETERS)
    if given.get("ssl", "prefer") not in _TLS:
        raise QueueError(f"queue_url: ssl is one of {', '.join(_TLS)}")
    if given.get("ssl", "verify") != "verify" and {"ssl_ca", "ssl_cert", "ssl_key"} & given.keys():
        raise QueueError("queue_url: ssl_ca, ssl_cert and ssl_key go with ssl=verify only")
    return given
