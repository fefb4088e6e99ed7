"""From the setting `queue_url` to what the client connects with."""

from dataclasses import dataclass

from forebay.queues.errors import QueueError

from ..urls import split

_PORT = 11211

_SHAPE = f"queue_url: write memcached://host:{_PORT}, without user, password, path and parameters"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is."""

    host: str
    port: int

    @property
    def name(self) -> str:
        """The server as a person calls it."""
        return f"memcached://{self.host}" if self.port == _PORT else f"memcached://{self.host}:{self.port}"


def address(url: str) -> Address:
    """What the URL says. Raises `QueueError`, which quotes nothing of the URL."""
    parts, port = split(url, _SHAPE, _PORT)
    if not parts.hostname or "@" in parts.netloc or parts.path not in ("", "/") or parts.query:
        raise QueueError(_SHAPE)
    return Address(parts.hostname, port)
