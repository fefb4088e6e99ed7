"""Stops that come when gunicorn heeds none yet: while the server is made, and in a worker that was just forked."""

import os
import signal
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class EarlyStop:
    """A stop that is asked for before gunicorn heeds signals: noted, until nothing is half made."""

    def __init__(self) -> None:
        self._is_asked_for = False
        for how in (signal.SIGTERM, signal.SIGINT):
            signal.signal(how, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._is_asked_for = True

    def heed(self) -> None:
        """End the process with 0 if it is asked for."""
        if self._is_asked_for:
            raise SystemExit(0)


def let_forked_workers_stop() -> None:
    """Have a worker end at once when it is told to before it has handlers of its own. Call it once, in the master.

    With the master's handlers, which it is forked with, it would heed nothing: it would take calls for the whole grace
    of the stop, and be killed at its end.
    """
    os.register_at_fork(before=_hold, after_in_parent=_let_in, after_in_child=_end_by_them)


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)


def _let_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def _end_by_them() -> None:
    for how in _STOPS:
        signal.signal(how, signal.SIG_DFL)
    _let_in()
