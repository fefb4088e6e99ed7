"""What a handler forks, by `multiprocessing` say: a process of its own, though it begins as a copy of ours."""

import os
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import local
from traceback import print_exception
from typing import Never
from weakref import WeakSet

#: Connections by whose end others know of ours.
_told_by: "WeakSet[socket.socket]" = WeakSet()


class Here:
    """What this process is. To ask the system for its number at each call would cost as much as many a handler."""

    #: Forked by a handler, from one that leaves its forks to themselves.
    is_copy = False


def leave_forks_to_themselves(signals: Iterable[signal.Signals]) -> None:
    """Who is forked from this process from now on is ended by these signals, as any process is, and he alone.

    As a copy he would heed them as we do. And Python would tell them to our loop, with which he shares the pipe for
    that: the end of a handler's pool, which ends its processes by SIGTERM, would stop the worker instead.
    """
    ours = _Forks(frozenset(signals))
    os.register_at_fork(before=ours.hold, after_in_parent=ours.let_in, after_in_child=ours.be_ended_by_them)


def leave_to_us(connection: socket.socket) -> None:
    """Who is forked from this process, and outlives it, must not keep this connection open."""
    _told_by.add(connection)


def end_a_copy(raised: BaseException | None) -> Never:
    """End this process, which a handler forked and let come out of its call: nothing of ours may be done twice."""
    status = 1
    if raised is None or (isinstance(raised, SystemExit) and raised.code is None):
        status = 0
    elif isinstance(raised, SystemExit) and isinstance(raised.code, int):
        status = raised.code
    else:
        print_exception(raised)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class _Forks:
    def __init__(self, signals: frozenset[signal.Signals]) -> None:
        self._signals = signals
        #: Several threads may fork at once.
        self._here = local()

    def hold(self) -> None:
        """What comes before the copy heeds signals in its own way has to wait."""
        self._here.mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)

    def let_in(self) -> None:
        """As it was."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._here.mask)

    def be_ended_by_them(self) -> None:
        """In the copy."""
        Here.is_copy = True
        signal.set_wakeup_fd(-1)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)
        for connection in _told_by:
            # Past what the loop has made of it, which is not here.
            with suppress(OSError):
                os.close(connection.fileno())
        self.let_in()
