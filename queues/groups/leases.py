"""What a consumer owns just now. Its event loop and its two threads all look here."""

import threading
import time
from collections.abc import Callable, Mapping

#: The clock of the leases, in seconds. Where there is one, it goes on while the machine sleeps: others' clocks do too.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> float:
    """Seconds since the machine started, its sleep included where the system counts it."""
    return time.clock_gettime(_BOOT)


class Leases:
    """Partition → epoch of what is ours, all of it until one moment, which each heartbeat moves on. Thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}
        self._until = 0.0

    def held(self) -> dict[int, int]:
        """All that we have not lost or given back, even if its time is over."""
        with self._lock:
            return dict(self._held)

    def epoch(self, partition: int) -> int | None:
        """The epoch under which the partition is ours; None when it isn't, or its time is over."""
        with self._lock:
            return self._held.get(partition) if self._clock() < self._until else None

    def add(self, claimed: Mapping[int, int]) -> None:
        """These are ours too."""
        with self._lock:
            self._held |= claimed

    def renew(self, until: float) -> None:
        """The store knows that all are ours until then."""
        with self._lock:
            self._until = until

    def left_s(self) -> float:
        """For how long they are ours without another heartbeat; below zero when their time is over."""
        with self._lock:
            return self._until - self._clock()

    def drop(self, partition: int, epoch: int) -> bool:
        """This is not ours any more. False when it was not already, or is again in another epoch."""
        with self._lock:
            if self._held.get(partition) != epoch:
                return False
            del self._held[partition]
            return True

    def drop_expired(self) -> dict[int, int]:
        """If the time is over nothing is ours any more: returns what was."""
        with self._lock:
            if self._clock() < self._until:
                return {}
            expired, self._held = self._held, {}
            return expired
