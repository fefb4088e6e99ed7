"""Waking a thread that waits, also while it waits for a socket."""

import os
import select
from contextlib import suppress

#: Bytes that are taken off at once; more rings than that are heard as a second one.
_RINGS = 4096


class Bell:
    """Rung and closed on the event loop, heard in one thread."""

    def __init__(self) -> None:
        # A pipe and no threading.Event: of the two, only a pipe can be waited for together with a socket.
        self._hearing, self._ringing = os.pipe()
        os.set_blocking(self._hearing, False)
        os.set_blocking(self._ringing, False)
        self._closed = False

    def ring(self) -> None:
        """End the wait that runs, or the next one. Nothing once it is closed."""
        if not self._closed:
            # A pipe that is full is loud enough.
            with suppress(BlockingIOError):
                os.write(self._ringing, b"!")

    def hush(self) -> None:
        """Forget the rings so far."""
        with suppress(BlockingIOError):
            os.read(self._hearing, _RINGS)

    def wait(self, timeout_s: float, socket: int | None = None) -> bool:
        """Return when it was rung, which is True, or when the socket has something to read, or the time is over."""
        waiting = select.poll()
        for descriptor in (self._hearing, socket):
            if descriptor is not None:
                waiting.register(descriptor, select.POLLIN)
        return self._hearing in (descriptor for descriptor, _ in waiting.poll(max(0.0, timeout_s) * 1000))

    def close(self) -> None:
        """Let go of the pipe; nobody may be waiting any more. Idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self._hearing)
            os.close(self._ringing)
