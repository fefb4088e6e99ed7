"""What a client shows of itself and trusts, where it stands in files: librdkafka reads them once."""

import time
from collections.abc import Callable
from pathlib import Path

from .named_files import named_files, unreadable
from .properties import Properties

#: Between two looks at the files.
_LOOK_S = 0.25

#: How a file is known again: when it was written, how long it is, and which one a link leads to.
_Facts = tuple[int, int, int]


class Credentials:
    """The files of one client. Made before it, so that nothing is renewed unseen while it is made."""

    def __init__(self, properties: Properties, clock: Callable[[], float] = time.monotonic) -> None:
        self._properties, self._clock = properties, clock
        self._paths = [path for _, path in named_files(properties)]
        self._made_with = self._now()
        self._next_look_at = 0.0

    def are_renewed(self) -> bool:
        """Whether another client would be made with others; asked in whichever thread, as often as one likes."""
        if not self._paths or self._clock() < self._next_look_at:
            return False
        self._next_look_at = self._clock() + _LOOK_S
        # With files that are not all there yet no other client could be made.
        return self._now() != self._made_with and not any(unreadable(self._properties))

    def _now(self) -> list[_Facts | None]:
        return [_facts(path) for path in self._paths]


def _facts(path: Path) -> _Facts | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
