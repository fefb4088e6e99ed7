"""A database server of the tests' own: what is the same for all systems."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

from tests.missing import NotHere
from tests.ports import free_ports
from tests.processes import dying_with_us

READY_S = 60.0

#: Who owns everything, by password; its special characters must come through.
ADMIN, PASSWORD = "forebay", "p@ss/w:rd?%"


class DatabaseServer:
    """One server with a folder and a port of its own. Use it in a `with` statement."""

    #: What the system is called, and whom its server runs as when we are root: it refuses to be root's.
    system: ClassVar[str]
    account: ClassVar[tuple[str, str]]
    #: Seconds until it lets clients in, on a machine that has much else to do.
    ready_s: ClassVar[float] = READY_S
    #: Ends it in order, and throws everybody out.
    stopping: ClassVar[signal.Signals]

    def __init__(self, options: tuple[str, ...] = ()) -> None:
        self._options = options
        # Not pytest's folder, which is root's alone.
        self.folder = Path(tempfile.mkdtemp(prefix=f"forebay-{self.system}-"))
        [self.port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    def url(self) -> str:
        """Where a client comes in."""
        raise NotImplementedError

    def template(self) -> Path:
        """A data directory that was never started; making one takes longer than all that a test does with it."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def answers(self) -> None:
        """Come in as a client. Raises an error of the client's while there is no server."""
        raise NotImplementedError

    def __enter__(self) -> Self:
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
            shutil.chown(self.folder, *self.account)
        # By their command, since it keeps the owner: the server refuses files of another.
        subprocess.run(["cp", "-a", "--sparse=always", str(self.template()), str(self.data)], check=True)

    def start(self) -> None:
        """Start the process; it is not ready yet."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *self.command()],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                **as_account(self.account),
            )

    def stop(self) -> None:
        """End it in order. Idempotent."""
        if self._process is not None:
            self._process.send_signal(self.stopping)
            self._process.wait(READY_S)
            self._process = None

    def kill(self) -> None:
        """`kill -9` of every process of it, as when the machine dies but for what the disk has. Idempotent."""
        if self._process is not None:
            # None of them may go on without the others: each is in a session of its own, so they are looked up.
            for pid in [self._process.pid, *self._children()]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(READY_S)
            self._process = None

    def signal_all(self, how: signal.Signals) -> None:
        """Send a signal to every process: SIGSTOP is a server that hangs, SIGCONT wakes it."""
        assert self._process is not None
        for pid in [self._process.pid, *self._children()]:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
                if how is signal.SIGSTOP:
                    _wait_still(pid)

    def _children(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text("ascii").split()] if children.exists() else []

    def wait_ready(self) -> None:
        """Return when it lets clients in."""
        wait_until(self.system, self.answers, self._check, self.ready_s)

    def _check(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise NotHere(f"{self.system} ended: {(self.folder / 'log').read_text('utf-8', 'replace')[-3000:]}")


def _wait_still(pid: int) -> None:
    """Return when each thread of it stands still: the signal reaches one after the other, and one may yet answer."""
    threads = Path(f"/proc/{pid}/task")
    while any(not _is_still(thread) for thread in threads.iterdir()):
        time.sleep(0.001)


def _is_still(thread: Path) -> bool:
    try:
        # The state stands behind the name, which may hold anything but a last bracket.
        return (thread / "stat").read_text("utf-8", "replace").rpartition(") ")[2][0] in "TZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def as_account(account: tuple[str, str]) -> dict[str, Any]:
    """For subprocess: servers refuse to run as root."""
    user, group = account
    return {"user": user, "group": group, "extra_groups": []} if os.getuid() == 0 else {}


def with_user(url: str, user: str, password: str) -> str:
    """The URL, for somebody else to come in."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}"))


def made_template(system: str, account: tuple[str, str], make: Callable[[Path], list[str]]) -> Path:
    """A folder that the command of `make` has filled; it gets the path of a file with the admin's password."""
    made = Path(tempfile.mkdtemp(prefix=f"forebay-{system}-"))
    secret = made / "secret"
    secret.write_text(PASSWORD, "utf-8")
    if os.getuid() == 0:
        for path in (made, secret):
            shutil.chown(path, *account)
    done = subprocess.run(make(made), capture_output=True, text=True, check=False, cwd=made, **as_account(account))
    if done.returncode or not (made / "data").exists():
        shutil.rmtree(made, ignore_errors=True)
        raise NotHere(f"{system}'s files can't be made: {done.stdout}{done.stderr}")
    return made


def wait_until(
    system: str,
    answers: Callable[[], None],
    check: Callable[[], None] = lambda: None,
    ready_s: float | None = None,
) -> None:
    """Return when a client comes in; `check` may give up earlier by raising."""
    ready_s = READY_S if ready_s is None else ready_s
    until = time.monotonic() + ready_s
    while True:
        check()
        try:
            answers()
        except Exception as error:  # each system has its own
            if time.monotonic() > until:
                raise NotHere(f"no {system} answered within {ready_s:.0f} s: {error!r}") from error
            time.sleep(0.02)
        else:
            return
