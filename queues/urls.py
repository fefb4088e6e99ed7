"""Reading the URL of a server: what is told when it can't be read quotes nothing of it."""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .errors import QueueError

#: A password with these in it moves the ends of user, host and database, which then stand in errors.
_MISLEADING = re.compile(r"\w+://([^@]*@[^?]*@|[^@/?]*[/?][^?=]*@|[^@]*[\[\]][^@]*@)")


def is_misleading(url: str) -> bool:
    """Whether the URL seems to hold a password with characters that stand for something else in a URL."""
    return _MISLEADING.match(url) is not None


def shape(scheme: str, port: int) -> str:
    """How the setting is to be written, for a database."""
    return (
        f"queue_url: write {scheme}://user:password@host:{port}/database, with %40 for @ in a password, %3A for :, "
        "%2F for /, %3F for ?, %25 for %, and so on"
    )


def split(url: str, shape: str, usual_port: int) -> tuple[SplitResult, int]:
    """The URL's parts, and the port. Raises `QueueError`, which tells the shape that it should have."""
    try:
        parts = urlsplit(url)
        port = parts.port or usual_port
    except ValueError:
        # Its words may be a part of the password.
        raise QueueError(shape) from None
    if is_misleading(url):
        raise QueueError(shape)
    return parts, port


def parameters(query: str, scheme: str, known: Iterable[str]) -> dict[str, str]:
    """What follows the `?`. Raises `QueueError`, which names one that is not known, unless it may be of a password."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(given.keys() - set(known)):
        which = f"parameter {unknown[0]!r}" if "@" not in query else "such parameter (in a password write %3F for ?)"
        raise QueueError(f"queue_url: {scheme} has no {which}; there are {', '.join(known)}")
    return given
