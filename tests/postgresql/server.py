"""A PostgreSQL server of the tests' own, from the system's package."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import uuid4

import psycopg

from tests.kafka.cluster import dying_with_us, free_ports

#: Where Debian keeps the programs of each version, off the PATH.
_DEBIAN = Path("/usr/lib/postgresql")

#: Who owns everything, by password; its special characters must come through.
ADMIN, PASSWORD = "forebay", "p@ss/w:rd?%"

_READY_S = 60.0

#: As a default server, fsync included, but small.
_OPTIONS = ("shared_buffers=32MB", "listen_addresses=127.0.0.1", "autovacuum_naptime=1s", "max_connections=100")


class NoPostgresql(Exception):
    """There is no PostgreSQL to be started, or it does not start."""


def programs() -> Path:
    """The folder of `postgres` and `initdb`."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(_DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise NoPostgresql("there is no PostgreSQL server on this machine; install Debian's package postgresql")


class Server:
    """One server with a folder and a port of its own. Use it in a `with` statement."""

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        self._programs, self._options = programs(), (*_OPTIONS, *options)
        # Not pytest's folder, which is root's alone: the server refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-postgresql-"))
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def url(self, database: str = "postgres", user: str = ADMIN, password: str = PASSWORD) -> str:
        """Where a client comes in."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> "Server":
        try:
            self._make()
            self.start()
            self.wait_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it, and take its files away. Idempotent."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        # By their command, since it keeps the owner: the server refuses files of another.
        subprocess.run(["cp", "-a", str(_template(self._programs)), str(self.data)], check=True)

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder)]
        for option in self._options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                **_as_postgres(),
            )

    def stop(self) -> None:
        """End it in order, and throw everybody out. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_READY_S)
            self._process = None

    def kill(self) -> None:
        """`kill -9` of every process of it, as when the machine dies but for what the disk has. Idempotent."""
        if self._process is not None:
            # None of them may go on without the others: each is in a session of its own, so they are looked up.
            for pid in [self._process.pid, *self._children()]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(_READY_S)
            self._process = None

    def signal_all(self, how: signal.Signals) -> None:
        """Send a signal to every process: SIGSTOP is a server that hangs, SIGCONT wakes it."""
        assert self._process is not None
        for pid in [self._process.pid, *self._children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, how)

    def _children(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text("ascii").split()] if children.exists() else []

    def wait_ready(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Return when it lets clients in."""
        wait_until(self.url(), self._check, clock)

    def _check(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise NoPostgresql(f"PostgreSQL ended: {(self.folder / 'log').read_text('utf-8', 'replace')[-3000:]}")


@cache
def _template(folder: Path) -> Path:
    """A data directory that was never started; making one takes longer than all that a test does with it."""
    made = Path(tempfile.mkdtemp(prefix="forebay-postgresql-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    secret = made / "secret"
    secret.write_text(PASSWORD, "utf-8")
    if os.getuid() == 0:
        for path in (made, secret):
            shutil.chown(path, "postgres", "postgres")
    command = [str(folder / "initdb"), "-D", str(made / "data"), "-A", "scram-sha-256", "-U", ADMIN]
    command += [f"--pwfile={secret}", "-N", "-E", "UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=made, **_as_postgres())
    if done.returncode:
        raise NoPostgresql(f"initdb failed: {done.stdout}{done.stderr}")
    return made / "data"


def _as_postgres() -> dict[str, Any]:
    """For subprocess: the server refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def wait_until(url: str, check: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
    """Return when the server at the URL lets us in; `check` may give up earlier by raising."""
    until = clock() + _READY_S
    while True:
        check()
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if clock() > until:
                raise NoPostgresql(f"no PostgreSQL answered within {_READY_S:.0f} s: {error}") from error
            time.sleep(0.02)
        else:
            return


@contextmanager
def fresh_database(url: str) -> Iterator[str]:
    """The URL of a database of its own on the server of the URL, dropped in the end."""
    name = f"forebay_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
