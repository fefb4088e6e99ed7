"""A PostgreSQL server of the tests' own, from the system's package."""

import atexit
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg

from tests.databases.server import ADMIN, PASSWORD, DatabaseServer, made_template
from tests.missing import NotHere

#: Where Debian keeps the programs of each version, off the PATH.
_DEBIAN = Path("/usr/lib/postgresql")

_ACCOUNT = ("postgres", "postgres")

#: As a default server, fsync included, but small.
_OPTIONS = ("shared_buffers=32MB", "listen_addresses=127.0.0.1", "autovacuum_naptime=1s", "max_connections=100")


def programs() -> Path:
    """The folder of `postgres` and `initdb`."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise NotHere("there is no PostgreSQL server on this machine; install Debian's package postgresql")


class Server(DatabaseServer):
    """One server with a folder and a port of its own. Use it in a `with` statement."""

    system = "PostgreSQL"
    account = _ACCOUNT
    stopping = signal.SIGINT

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        self._programs = programs()
        super().__init__((*_OPTIONS, *options))

    def url(self, database: str = "postgres", user: str = ADMIN, password: str = PASSWORD) -> str:
        """Where a client comes in."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def template(self) -> Path:
        """A data directory that was never started."""
        return _template(self._programs)

    def command(self) -> list[str]:
        """What starts it."""
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)]
        for option in self._options:
            command += ["-c", option]
        return command

    def answers(self) -> None:
        """Come in as a client."""
        enter(self.url())


def enter(url: str) -> None:
    """Come in as a client, and go."""
    psycopg.connect(url, connect_timeout=5).close()


@cache
def _template(folder: Path) -> Path:
    def initdb(made: Path) -> list[str]:
        command = [str(folder / "initdb"), "-D", str(made / "data"), "-A", "scram-sha-256", "-U", ADMIN]
        return [*command, f"--pwfile={made / 'secret'}", "-N", "-E", "UTF8", "--locale=C.UTF-8"]

    made = made_template("PostgreSQL", _ACCOUNT, initdb)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made / "data"


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The URL of a database of its own on the server of the URL, dropped in the end."""
    name = f"forebay_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
