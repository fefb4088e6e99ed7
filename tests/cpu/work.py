"""Handlers for other processes, which import this module."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from forebay import PortalEvent, Reject, Retry
from forebay.schemas.event import CannotOpenSecrets


class TwoFold(Exception):
    """An error that can't be made again from what it keeps."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def told(event: PortalEvent, name: str) -> str:
    data: Any = event.data
    return str(data[name])


def note(event: PortalEvent) -> None:
    with open(told(event, "FILE"), "a") as file:
        file.write(f"{event.portal} {os.getpid()}\n")


def die(event: PortalEvent) -> None:
    note(event)
    os.kill(os.getpid(), signal.SIGKILL)


def hang(event: PortalEvent) -> None:
    note(event)
    time.sleep(3600)


def fork(end: Callable[[], None]) -> Callable[[PortalEvent], None]:
    """The new process ends so; the handler waits for that, and then does its work."""

    def forking(event: PortalEvent) -> None:
        child = os.fork()
        if child == 0:
            return end()
        os.waitpid(child, 0)
        note(event)

    return forking


def nested() -> None:
    if os.fork():
        os.wait()


def leave_running(event: PortalEvent) -> None:
    """Ends while what it started goes on: with all that can be inherited."""
    sleeper = subprocess.Popen(["sleep", "3600"], close_fds=False)
    with open(told(event, "FILE"), "a") as file:
        file.write(f"{event.portal} {sleeper.pid}\n")
    os._exit(3)


def leave_forked(event: PortalEvent) -> None:
    child = os.fork()
    if child == 0:
        time.sleep(3600)
    with open(told(event, "FILE"), "a") as file:
        file.write(f"{event.portal} {child}\n")
    os._exit(3)


def fail(error: BaseException) -> Callable[[PortalEvent], None]:
    def failing(event: PortalEvent) -> None:
        raise error

    return failing


ACTS: dict[str, Callable[[PortalEvent], object]] = {
    "note": note,
    "say": lambda event: print(f"{event.portal} was here"),
    "die": die,
    "hang": hang,
    "crash": lambda event: ctypes.string_at(0),
    "leave": lambda event: os._exit(3),
    "fork and exit": fork(lambda: sys.exit(0)),
    "fork and fail": fork(lambda: os.chdir("/nowhere")),
    "fork and return": fork(lambda: None),
    "fork and fork": fork(nested),
    "leave running": leave_running,
    "leave forked": leave_forked,
    "exit": fail(SystemExit(3)),
    "retry": fail(Retry("later", after_s=7)),
    "reject": fail(Reject("never")),
    "fail": fail(LookupError("no such deal")),
    "two": fail(TwoFold("this", "that")),
}


def do(event: PortalEvent) -> None:
    """What the event says."""
    ACTS[told(event, "DO")](event)


def do_all(events: list[PortalEvent]) -> None:
    """The same for a batch."""
    for event in events:
        do(event)


def nothing(event: PortalEvent) -> None:
    """What costs nothing."""
    assert event


def compute(event: PortalEvent) -> None:
    """Some 2 ms of Python."""
    assert sum(number * number for number in range(25_000))


def number(event: PortalEvent) -> None:
    """Notes the number of the event."""
    with open(told(event, "FILE"), "a") as file:
        file.write(told(event, "N") + "\n")


def secrets(event: PortalEvent) -> None:
    """Notes what was sealed with a key of the portal, or why it can't be opened."""
    try:
        found = str(event.secrets({"k1": bytes(32)}))
    except CannotOpenSecrets as error:
        found = type(error).__name__
    with open(told(event, "FILE"), "a") as file:
        file.write(found + "\n")


def lost(event: PortalEvent) -> None:
    """Not found by its name any more."""


hidden = lost


def lost(event: PortalEvent) -> None:  # type: ignore[no-redef]
    """In its place."""
