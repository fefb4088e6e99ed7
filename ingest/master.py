"""gunicorn's master, for whom a worker that can't be started is no reason to end those that serve."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from .worker import PortalWorker

#: So long a worker that could not be started, or has ended by then, is left before the next one is tried. It may be as
#: it is for hours.
_AGAIN_S = 1.0

#: The master looks each second whether its workers' loops go on. One that comes to it so late, as a part of the time
#: after which a worker is ended, stood still itself.
_LATE = 0.5

#: What gunicorn ends by.
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Keeps the workers.

    A system may have no room for a process just when a dead worker's place is to be taken: no more processes (`ulimit
    -u`, a container's limit), files or memory. gunicorn would end everything then; here the others go on, and it is
    tried again, as where one after the other crashes at its start. Where no worker has served yet, one that fails at
    its start ends everything: its settings can't work.
    """

    def __init__(self, app: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._again_at = clock, 0.0
        self._is_told = False
        self._has_served = self._has_ended_early = self._is_ending = False
        #: Workers of this age and below go by settings that were changed since.
        self._outdated = 0
        #: A stop was asked for; and what would keep it waiting.
        self._is_asked = self._takes_over = False
        self._looked_at = self._judges_at = clock()
        super().__init__(app)

    def signal(self, sig: int, frame: FrameType | None) -> None:
        """Note what is to be handled next."""
        self._is_asked = self._is_asked or sig in _STOPS
        super().signal(sig, frame)

    def handle_int(self) -> None:
        """SIGINT ends as SIGTERM does: gunicorn would cut off calls that are on their way."""
        self.handle_term()

    handle_quit = handle_int

    def handle_hup(self) -> None:
        """New workers take the places of the old ones, which finish their calls: by what the settings are by now.

        Where those can't be used, nothing happens; an old one serves until a new one does. Raises `StopIteration` when
        a stop is asked for meanwhile: the old ones may take the whole grace, and the new ones need it, too.
        """
        if self.app.take_over_settings():
            self._takes_over, self._outdated = True, self.worker_age
            super().handle_hup()
            self._takes_over = False

    def spawn_worker(self) -> int | None:
        """Fork a worker; its process id, or None where that could not be."""
        try:
            pid: int = super().spawn_worker()
        except OSError as error:
            self._try_later(f"a worker can't be started: {error.strerror}")
            return None
        self._is_told = False
        self.WORKERS[pid].begun = self._clock()
        return pid

    def murder_workers(self) -> None:
        """End those whose loops stand still.

        Where all of us stood still, as in a container that was paused, each worker would be taken for such a one before
        it has said that it goes on, and the calls that came meanwhile would end with it: they begin anew.
        """
        now = self._clock()
        if now - self._looked_at > self.timeout * _LATE:
            self._judges_at = now + self.timeout
        self._looked_at = now
        if now >= self._judges_at:
            super().murder_workers()

    def stop(self, graceful: bool = True) -> None:
        """Wait for all workers. One that fails at its start meanwhile is no reason to leave the others."""
        self._is_ending = True
        super().stop(graceful)

    def manage_workers(self) -> None:
        """Start those that are missing, when it is time to; and let those go in whose place another one serves."""
        if self._clock() >= self._again_at:
            for _ in range(self.num_workers - len(self._current())):
                self.spawn_worker()
        for worker in self._superfluous():
            worker.is_leaving = True
            self.kill_worker(worker.pid, signal.SIGTERM)

    def _current(self) -> list[PortalWorker]:
        return [worker for worker in self._oldest_first() if worker.age > self._outdated]

    def _oldest_first(self) -> list[PortalWorker]:
        return sorted(self.WORKERS.values(), key=lambda worker: worker.age)

    def _superfluous(self) -> list[PortalWorker]:
        current = self._current()
        outdated = [one for one in self._oldest_first() if one not in current and not one.is_leaving]
        serving = [one for one in outdated if one.serves]
        needed = max(0, self.num_workers - sum(one.serves for one in current))
        return [
            *(one for one in outdated if not one.serves),
            *serving[: max(0, len(serving) - needed)],
            *(one for one in current[: max(0, len(current) - self.num_workers)] if not one.is_leaving),
        ]

    def reap_workers(self) -> None:
        """Take note of all that have ended. Raises `HaltServer` when one could not start, and none ever has."""
        if self._takes_over and self._is_asked:
            self._takes_over = False
            self._take_stop()
            raise StopIteration
        try:
            super().reap_workers()
        except HaltServer:
            if not (self._is_ending or self._has_served or any(worker.serves for worker in self.WORKERS.values())):
                raise
            if not self._is_ending:
                self._try_later("a worker failed at its start")
            self.app.forget_dead()
            self.reap_workers()
        if self._takes_over:
            # gunicorn waits here for the old ones to end, and looks after nothing else.
            self.manage_workers()

    def ended(self, worker: PortalWorker) -> None:
        """Called of each that has ended. The first of those that ended early may have been killed by somebody."""
        self._has_served = self._has_served or worker.serves
        before = self._has_ended_early
        self._has_ended_early = self._clock() - worker.begun < _AGAIN_S
        if before and self._has_ended_early:
            self._try_later("workers end right after their start")

    def _take_stop(self) -> None:
        # Left there it would count as a second one, by which the workers are not waited for.
        waiting = self.wait_for_signals(timeout=0)
        if (first := next((one for one in waiting if one in _STOPS), None)) is not None:
            waiting.remove(first)
        for one in waiting:
            self.SIG_QUEUE.put_nowait(one)

    def _try_later(self, why: str) -> None:
        self._again_at = self._clock() + _AGAIN_S
        if not self._is_told:
            self.log.error("%s; the others go on, and it is tried each second", why)
        self._is_told = True
