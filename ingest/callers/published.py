"""A published list of networks: how it is read, fetched, and kept for the next start."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from forebay.queues.folders import write_whole
from forebay.schemas.errors import ForebayError

from .networks import Networks, network_of

#: In data_dir, the list that was fetched last.
FILE = "allow-list.txt"

#: A list is some hundred lines. What is larger is none.
_LIST_BYTES = 1 << 20

_FETCH_S = 10.0
_PIECE_BYTES = 1 << 16

#: A line a network, or JSON's list of texts.
_BETWEEN = re.compile(r"[\s,;\"'\[\]]+")
_COMMENT = re.compile(r"#.*")


class BadAllowList(ForebayError):
    """The list can't be read, or is none; the message says where and why."""


def networks_in(text: str, source: str) -> Networks:
    """The list's networks. All must be some: of an error page nothing may be taken for a list."""
    entries = [entry for entry in _BETWEEN.split(_COMMENT.sub("", text)) if entry]
    if not entries:
        raise BadAllowList(f"{source} names no network")
    try:
        found = [network_of(entry, strict=False) for entry in entries]
    except ValueError as error:
        raise BadAllowList(f"{source}: {error}") from error
    if not all(network.prefixlen for network in found):
        raise BadAllowList(f"{source} names every address; take the list out of the settings if everybody may call")
    return Networks(found)


def networks_of_file(path: Path) -> Networks:
    """The networks in a file. Raises `BadAllowList`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LIST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise BadAllowList(f"{path} can't be read: {error}") from error
    if len(text) > _LIST_BYTES:
        raise BadAllowList(f"{path} is larger than {_LIST_BYTES} bytes, and so is no list of networks")
    return networks_in(text, str(path))


class _StaysThere(HTTPRedirectHandler):
    """Follows nothing: what was written in the settings is what is believed."""

    def redirect_request(self, *args: object) -> None:
        """None: the answer is told as it is."""


def fetched(url: str, clock: Callable[[], float] = monotonic) -> str:
    """The text at the address, which the settings have checked. Blocks. Raises `BadAllowList`."""
    request = Request(url, headers={"User-Agent": "Forebay", "Accept": "text/plain, application/json"})  # noqa: S310 - only http and https pass the settings
    try:
        with build_opener(_StaysThere).open(request, timeout=_FETCH_S) as answer:
            return _whole(answer, clock).decode("utf-8", "replace")
    except HTTPError as error:
        # It holds the connection.
        with error:
            raise BadAllowList(f"the list can't be fetched: {error}") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise BadAllowList(f"the list can't be fetched: {error}") from error


def _whole(answer: HTTPResponse, clock: Callable[[], float]) -> bytes:
    """The body. The timeout alone would let one that comes byte by byte go on for ever."""
    body, until = b"", clock() + _FETCH_S
    while piece := answer.read1(_PIECE_BYTES):
        body += piece
        if len(body) > _LIST_BYTES:
            raise BadAllowList(f"the list is larger than {_LIST_BYTES} bytes")
        if clock() > until:
            raise TimeoutError(f"it did not come within {_FETCH_S:g} s")
    if answer.length:
        # `read1` says nothing of it. Half a list refuses portals, and half a line may let in a quarter of the world.
        raise IncompleteRead(body, answer.length)
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A list that was fetched: its networks, and the time."""

    networks: Networks
    at: float


class Shelf:
    """The last good list of an address, in a file that the workers of a host share."""

    def __init__(self, folder: Path, url: str) -> None:
        self._path, self._first_line = folder / FILE, f"# {url}"

    def put(self, networks: Networks) -> None:
        """Keep it. The file is whole at every moment."""
        write_whole(self._path, f"{self._first_line}\n{networks}\n".encode())

    def take(self) -> Kept | None:
        """What was kept of this address; None where nothing was."""
        try:
            at = self._path.stat().st_mtime
            text = self._path.read_text("utf-8")
            return Kept(networks=networks_in(text, str(self._path)), at=at) if self._is_ours(text) else None
        except (OSError, UnicodeDecodeError, BadAllowList):
            return None

    def _is_ours(self, text: str) -> bool:
        return text.partition("\n")[0] == self._first_line
