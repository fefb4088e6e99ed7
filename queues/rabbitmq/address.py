"""From the setting `queue_url` to what the client connects with."""

import ssl
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from forebay.queues.errors import QueueError
from forebay.queues.urls import is_misleading

#: Scheme → the port that is meant when none is written.
_PORTS = {"amqp": 5672, "amqps": 5671}

_SHAPE = (
    "queue_url: write amqp://user:password@host:5672/vhost (amqps:// for TLS), with %40 for @ in a password, %3A for "
    ":, %2F for /, %3F for ?, %25 for %, and so on; the virtual host that is called / is %2F, or nothing"
)

#: What may follow the `?`: files that say whom to trust and who we are.
_PARAMETERS = ("cafile", "certfile", "keyfile")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """Where the node is, who we are, and what protects the way."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    vhost: str
    files: dict[str, str]

    @property
    def name(self) -> str:
        """The queue as a person calls it, without user and password."""
        where = self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"
        return f"{self.scheme}://{where}/{'' if self.vhost == '/' else self.vhost}"

    def context(self) -> ssl.SSLContext | None:
        """What the node has to prove; None without TLS. Raises `OSError` when a file can't be read."""
        if self.scheme != "amqps":
            return None
        context = ssl.create_default_context(cafile=self.files.get("cafile"))
        if "certfile" in self.files:
            context.load_cert_chain(self.files["certfile"], self.files.get("keyfile"))
        return context


def address(url: str) -> Address:
    """What the URL says. Raises `QueueError`, which quotes nothing of the URL but names of parameters."""
    if is_misleading(url):
        raise QueueError(_SHAPE)
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        # Its words may be a part of the password.
        raise QueueError(_SHAPE) from None
    if "/" in parts.path[1:]:
        raise QueueError(_SHAPE)
    return Address(
        scheme=parts.scheme,
        host=parts.hostname or "localhost",
        port=port,
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        files=_files(parts.query, parts.scheme),
    )


def _files(query: str, scheme: str) -> dict[str, str]:
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(given.keys() - set(_PARAMETERS)):
        raise QueueError(f"queue_url: {scheme} has no parameter {unknown[0]!r}; there are {', '.join(_PARAMETERS)}")
    if given and scheme != "amqps":
        raise QueueError(f"queue_url: {', '.join(sorted(given))}: only amqps:// has TLS")
    return given
