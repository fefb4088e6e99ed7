"""A gunicorn worker whose connections are ours, and that stops without waiting for idle ones."""

import asyncio
import mmap
import os
import random
import resource
import signal
from typing import Any

from gunicorn.instrument import statsd  # noqa: F401 - the same, at its first connection
from gunicorn.workers import gasgi

from forebay.queues.threads.loop import new_event_loop

from .coming import Coming
from .open_files import make_room
from .protocol import PortalProtocol, find_parser
from .telling import Teller

#: gunicorn seeds each worker with octets, for which Python 3.13 imports a hash once; after this no worker has to.
_SEEDED = random.Random(b"")  # noqa: S311 - nothing is drawn from it

#: Of the grace at a stop, what the producer has to itself.
_FLUSH_S = 3

#: A connection may be silent for so long, before its first request and behind one, that came while others had half of
#: the files that this process may open: who says nothing must not keep others out.
_CROWDED_S = 1.0

#: At a stop a kept connection that is silent for so long is closed, or for half of the grace where that is shorter.
#: Its next call may be on its way, and would be lost: it is answered, and told that the connection ends.
_LINGER_S = 1.0


class PortalWorker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of the ingest."""

    def __init__(self, *arguments: Any) -> None:
        """In the master, before the fork."""
        super().__init__(*arguments)
        #: Shared by both: a byte that is set when it serves.
        self._served = mmap.mmap(-1, 1)
        #: For the master: when it was begun, and whether it was told to end.
        self.begun, self.is_leaving = 0.0, False

    @property
    def serves(self) -> bool:
        """Whether it takes calls, or has."""
        return bool(self._served[0])

    def init_process(self) -> None:
        """Have the connections made of our protocol; gunicorn has no setting for it."""
        self.connections: set[PortalProtocol] = set()
        #: Of connections that are gone.
        self.unfinished: set[asyncio.Task[None]] = set()
        self.teller = Teller()
        #: To end, by somebody else than the master.
        self._is_asked = False
        self._headers_s: float = self.app.settings.body_timeout_s
        self.coming = Coming(self.app.settings.max_body_bytes)
        # The master ends a worker when the grace is over; so waiting for connections must leave time to flush.
        self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - _FLUSH_S))
        gasgi.ASGIProtocol = PortalProtocol
        find_parser()
        make_room(self.tmp.fileno())
        super().init_process()

    def _setup_event_loop(self) -> None:
        # gunicorn has no setting for it.
        self.loop = new_event_loop()
        asyncio.set_event_loop(self.loop)

    def init_signals(self) -> None:
        """As gunicorn; but SIGHUP is the master's, also where every process hears it: here it would cut off calls."""
        super().init_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def patience_s(self) -> float:
        """How long a new connection may take to its first request."""
        return self.unless_crowded(self._headers_s)

    def unless_crowded(self, seconds: float) -> float:
        """For so long a connection that comes now may be silent, or less."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        is_crowded = files != resource.RLIM_INFINITY and len(self.connections) > files // 2
        return min(seconds, _CROWDED_S) if is_crowded else seconds

    def notify(self) -> None:
        """Called each second as it serves: the loop does not stand still. Without a master it comes to its end."""
        self._served[0] = 1
        super().notify()
        if self.ppid != os.getppid():
            # gunicorn would go on with the connections that are kept, until the grace cuts them off.
            self.handle_exit_signal()

    def handle_exit_signal(self) -> None:
        """SIGTERM: not ready any more; what runs is finished, what stays idle is closed."""
        self.app.stop()
        super().handle_exit_signal()
        self.loop.call_later(min(_LINGER_S, self.cfg.graceful_timeout / 2), self._close_idle)

    def handle_quit_signal(self) -> None:
        """SIGINT, which a terminal sends to every process, and SIGQUIT: the same, and the second one ends at once.

        The first may come behind the SIGTERM of the master, who has heard it, too, as on a busy machine: of signals
        that wait together the last one is handled first.
        """
        if self._is_asked:
            super().handle_quit_signal()
        elif self.alive:
            self.handle_exit_signal()
        self._is_asked = True

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            connection.close_if_idle()
