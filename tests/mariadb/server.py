"""A MariaDB server of the tests' own, from the system's package."""

import atexit
import os
import pwd
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from uuid import uuid4

import pymysql

from tests.databases.server import ADMIN, PASSWORD, DatabaseServer, made_template
from tests.missing import NotHere

#: Debian keeps the server off a user's PATH.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"

#: As a default server, fsync included, but small.
_OPTIONS = ("bind-address=127.0.0.1", "skip-name-resolve", "innodb-buffer-pool-size=32M", "performance-schema=0")

#: Run at each start, before anybody is let in.
_FIRST = (
    "CREATE USER IF NOT EXISTS '{0}'@'%' IDENTIFIED BY '{1}';\n"
    "GRANT ALL ON *.* TO '{0}'@'%' WITH GRANT OPTION;\n"
    "CREATE DATABASE IF NOT EXISTS {0};\n"
)


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise NotHere("there is no MariaDB server on this machine; install Debian's package mariadb-server")
    return found


def _account() -> tuple[str, str]:
    # The package that has the server's programs alone makes no user.
    known = {entry.pw_name for entry in pwd.getpwall()}
    return ("mysql", "mysql") if "mysql" in known else ("nobody", "nogroup")


class Server(DatabaseServer):
    """One server with a folder and a port of its own. Use it in a `with` statement."""

    system = "MariaDB"
    account = _account()
    stopping = signal.SIGTERM

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        self._programs = (_program("mariadbd"), _program("mariadb-install-db"), _program("my_print_defaults"))
        super().__init__((*_OPTIONS, *options))

    def url(self, database: str = ADMIN, user: str = ADMIN, password: str = PASSWORD) -> str:
        """Where a client comes in."""
        return f"mariadb://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def template(self) -> Path:
        """A data directory that was never started."""
        return _template(self._programs[1], self.account)

    def command(self) -> list[str]:
        """What starts it."""
        (self.folder / "first.sql").write_text(_FIRST.format(ADMIN, PASSWORD), "utf-8")
        options = [f"datadir={self.data}", f"socket={self.folder}/socket", f"pid-file={self.folder}/pid"]
        # Its own: as one starts, it clears away the temporary tables of all others that share the folder.
        options += [f"tmpdir={self.folder}"]
        options += [f"port={self.port}", f"init-file={self.folder}/first.sql", *self._options]
        return [self._programs[0], "--no-defaults", *(f"--{option}" for option in options)]

    def answers(self) -> None:
        """Come in as a client."""
        enter(self.url())


@cache
def _template(install: str, account: tuple[str, str]) -> Path:
    def install_db(made: Path) -> list[str]:
        return [
            install,
            "--no-defaults",
            f"--datadir={made / 'data'}",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ]

    made = made_template("MariaDB", account, install_db)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made / "data"


def direct(url: str) -> Any:
    """A connection of a plain client, in autocommit mode."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.removeprefix("/"),
        autocommit=True,
        ssl_disabled=True,
    )


def asked(connection: Any, statement: str, values: tuple[object, ...] | None = None) -> list[tuple[Any, ...]]:
    """The rows of an answer."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def enter(url: str) -> None:
    """Come in as a client, and go."""
    direct(url).close()


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The URL of a database of its own on the server of the URL, dropped in the end."""
    name = f"forebay_{uuid4().hex}"
    with closing(direct(url)) as admin:
        # As on a server where nobody has thought about it: letters are the same in both cases.
        asked(admin, f"CREATE DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci")
    yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    with suppress(pymysql.Error), closing(direct(url)) as admin:
        asked(admin, f"DROP DATABASE {name}")
