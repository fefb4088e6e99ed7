"""Event ids: UUID version 7, so that ids sort by the time of receipt. (RFC 9562, section 5.7; method 3 of 6.2.)"""

import os
from collections.abc import Callable

_NS_PER_MS = 1_000_000
#: 62 bits are random: what is over in 8 bytes is shifted out.
_RANDOM_BYTES = 8
_SPARE_BITS = 2

#: The 12 bits behind the version count fractions of a millisecond.
_FRACTIONS = 4096
_VERSION = 7 << 76
_VARIANT = 2 << 62


def uuid7(now_ns: int, random: Callable[[int], bytes] = os.urandom) -> str:
    """An id for that moment (ns since the epoch): 48 bits of milliseconds, 12 of their fraction, 62 random ones."""
    ms, rest = divmod(now_ns, _NS_PER_MS)
    chance = int.from_bytes(random(_RANDOM_BYTES), "big") >> _SPARE_BITS
    text = f"{ms << 80 | _VERSION | (rest * _FRACTIONS // _NS_PER_MS) << 64 | _VARIANT | chance:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
