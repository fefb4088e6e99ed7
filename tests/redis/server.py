"""A Redis server of the tests' own, from the system's package."""

import os
import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from tests.databases.server import PASSWORD, DatabaseServer
from tests.missing import NotHere

#: One that keeps what our promise rests on.
_SETTINGS = ("bind 127.0.0.1", 'save ""', "appendonly yes", "appendfsync always", "maxmemory 256mb")


class RedisServer(DatabaseServer):
    """One server with a folder and a port of its own. Use it in a `with` statement."""

    system = "Redis"
    account = ("nobody", "nogroup")
    stopping = signal.SIGTERM

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        found = shutil.which("redis-server")
        if found is None:
            raise NotHere("there is no Redis server on this machine; install Debian's package redis-server")
        self._program = found
        super().__init__((*_SETTINGS, *options))

    def url(self, parameters: str = "") -> str:
        """Where a client comes in."""
        return f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/0{parameters}"

    def template(self) -> Path:
        """An empty folder."""
        empty = self.folder / "empty"
        empty.mkdir()
        shutil.chown(empty, *self.account)
        return empty

    def command(self) -> list[str]:
        """What starts it."""
        settings = [f"port {self.port}", f"dir {self.data}", f'requirepass "{PASSWORD}"', *self._options]
        (self.folder / "redis.conf").write_text("\n".join(settings), "utf-8")
        return [self._program, str(self.folder / "redis.conf")]

    def answers(self) -> None:
        """Come in as a client."""
        enter(self.url())


class Sentinel(RedisServer):
    """A Sentinel that watches over nobody yet."""

    def command(self) -> list[str]:
        """What starts it. It writes down in its settings whom it knows."""
        command = super().command()
        if os.getuid() == 0:
            shutil.chown(command[-1], *self.account)
        return [*command, "--sentinel"]


def direct(url: str) -> Any:
    """A plain client."""
    return redis.Redis.from_url(url.partition("?")[0])


def enter(url: str) -> None:
    """Come in as a client, and go."""
    with closing(direct(url)) as client:
        client.ping()


def empty(url: str) -> None:
    """Take away all that is in the database."""
    with closing(direct(url)) as client:
        client.flushdb()
