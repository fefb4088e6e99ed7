"""Standard output and error of what runs until it is told to stop: what can't be printed costs no event."""

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from select import PIPE_BUF, POLLOUT, poll
from typing import Any, TextIO

#: How a character is printed that the locale's encoding has not: KOI8-R has no dash, and Latin-1 no Cyrillic.
SHOWN_AS_CODES = "backslashreplace"

#: So long a reader that takes nothing is waited for, once: a collector of logs that is busy, and no longer than a call
#: or a group's membership bears.
_PATIENCE_MS = 1000

#: Comes before what has room again, on a line of its own.
_LEFT_OUT = b'\n{"event": "output was left out: nobody read it, or it had no room", "bytes": %d, "level": "warning"}\n'


class _Lossy(FileIO):
    """Takes everything; what has no room, or no reader, is gone.

    Nobody waits longer than a moment for whoever should read: a pager, a terminal that was stopped (Ctrl-S), a
    collector of logs that hangs. Otherwise one line that a stranger has caused would be the last thing that we do.
    """

    def __init__(self, stream: TextIO) -> None:
        number = stream.fileno()
        super().__init__(number, "wb", closefd=False)
        # It may be nobody else's any more, and would close what is ours by then.
        self._instead_of = stream
        self._put = _putting(number)
        self._poll = poll()
        self._poll.register(number, POLLOUT)
        self._is_read, self._lost = True, 0

    def write(self, data: Any, /) -> int:
        """As in `io`, and never fails."""
        before = _LEFT_OUT % self._lost if self._lost else b""
        size, written = memoryview(data).nbytes, self._written(before + bytes(data))
        self._lost = size - (written - len(before)) if written >= len(before) else self._lost + size
        return size

    def _written(self, data: bytes) -> int:
        written = 0
        # No more room than for so much is promised to who asks first.
        with suppress(OSError):
            while written < len(data) and self._has_room():
                written += self._put(data[written : written + PIPE_BUF])
        return written

    def _has_room(self) -> bool:
        self._is_read = bool(self._poll.poll(_PATIENCE_MS if self._is_read else 0))
        return self._is_read


def _putting(number: int) -> Callable[[bytes], int]:
    """How to write without waiting, also where another process takes the room that there was a moment ago.

    The descriptor itself stays as it is: who shares it, or gets it from us, relies on being waited for.
    """
    own = number
    # A wire that is called ready has room for more than we write at once, and a file never waits for anybody.
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(number).st_mode) or os.isatty(number):
            own = os.open(f"/proc/self/fd/{number}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return lambda data: os.write(own, data)


def let_handlers_print() -> None:
    """What handlers print is for a person or a log, and is there when it happens; tracebacks and warnings, too.

    Where it can't be, as on a full disk, that costs the line, and never the event that was being handled.
    """
    sys.stdout, sys.stderr = lossy(sys.stdout), lossy(sys.stderr)


def lossy(stream: TextIO) -> TextIO:
    """The stream, but what has no room, or no reader, is gone, and keeps nobody waiting."""
    if not isinstance(stream, TextIOWrapper) or isinstance(getattr(stream.buffer, "raw", None), _Lossy):
        # There is none, or somebody has caught it; or it is one already.
        return stream
    with suppress(OSError):
        stream.flush()
    return TextIOWrapper(BufferedWriter(_Lossy(stream)), stream.encoding, SHOWN_AS_CODES, line_buffering=True)
