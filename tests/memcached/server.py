"""A Memcached server of the tests' own, from the system's package."""

import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymemcache.client.base import Client

from tests.databases.server import DatabaseServer
from tests.missing import NotHere


class MemcachedServer(DatabaseServer):
    """One server with a port of its own. Use it in a `with` statement."""

    system = "Memcached"
    account = ("nobody", "nogroup")
    # In order it takes a second, and keeps as little.
    stopping = signal.SIGKILL

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        found = shutil.which("memcached")
        if found is None:
            raise NotHere("there is no Memcached server on this machine; install Debian's package memcached")
        self._program = found
        super().__init__(options or ("-m", "64"))

    def url(self) -> str:
        """Where a client comes in."""
        return f"memcached://127.0.0.1:{self.port}"

    def template(self) -> Path:
        """An empty folder: it has no files."""
        empty = self.folder / "empty"
        empty.mkdir()
        shutil.chown(empty, *self.account)
        return empty

    def command(self) -> list[str]:
        """What starts it."""
        return [self._program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *self._options]

    def answers(self) -> None:
        """Come in as a client."""
        enter(self.url())


def direct(url: str) -> Any:
    """A plain client."""
    parts = urlsplit(url)
    return Client((parts.hostname, parts.port or 11211), connect_timeout=5, timeout=5, default_noreply=False)


def enter(url: str) -> None:
    """Come in as a client, and go."""
    with closing(direct(url)) as client:
        client.version()


def empty(url: str) -> None:
    """Take away all that is there."""
    with closing(direct(url)) as client:
        client.flush_all()
