"""Who fails to prove himself again and again. For him little is done and nothing is logged; a good call still passes.

Nobody is refused here: Bitrix24 calls for all its portals from the same addresses, and anybody can name a portal.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

from .networks import address_of

#: So many failures make somebody known for them, when no pause between two of them was longer than this.
MANY = 20
_PAUSE_S = 60.0

#: Names that are counted at once; the one that failed longest ago gives way. Some 2 MB.
_MOST = 8192

#: Who has one address of IPv6 has all of these.
_V6_PREFIX = 64

#: For those whose address is not known.
_UNKNOWN = "?"


class Failures:
    """Used on one event loop. Of a fixed size, whoever calls."""

    def __init__(self, *, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        #: Name → how often, and when last; who failed last is at the end.
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._known = 0

    def __bool__(self) -> bool:
        """Whether anybody is known for it; when nobody is, there is nothing to look up."""
        return self._known > 0

    def __len__(self) -> int:
        return len(self._counts)

    def is_known(self, name: str) -> bool:
        """Whether this one fails again and again."""
        count, last = self._counts.get(name, (0, 0.0))
        if count >= MANY and self._clock() - last > _PAUSE_S:
            self._forget(name)
            return False
        return count >= MANY

    def note(self, name: str) -> int:
        """It has failed once more; how often now, in a row."""
        now = self._clock()
        count, last = self._counts.get(name, (0, now))
        if now - last > _PAUSE_S:
            self._known -= count >= MANY
            count = 0
        self._counts[name] = count + 1, now
        self._counts.move_to_end(name)
        self._known += count + 1 == MANY
        if len(self._counts) > self._most:
            self._forget(next(iter(self._counts)))
        return count + 1

    def _forget(self, name: str) -> None:
        count, _ = self._counts.pop(name)
        self._known -= count >= MANY


def by_address(text: str) -> str:
    """The name under which an address is counted."""
    found = address_of(text)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, _V6_PREFIX), strict=False))
    return str(found) if found else _UNKNOWN


def by_portal(portal: str) -> str:
    """The name under which a portal is counted: it could be that of an address."""
    return f"//{portal}"
