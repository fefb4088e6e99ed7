"""Event ids: UUID version 7, so that ids sort by the time of receipt. (RFC 9562, section 5.7; method 3 of 6.2.)"""

import random
from collections.abc import Callable
from struct import Struct

_NS_PER_MS = 1_000_000
_RANDOM_BITS = 62

#: The 12 bits behind the version count fractions of a millisecond.
_FRACTIONS = 4096
_VERSION = 7 << 12
_VARIANT = 2 << 62

_halves = Struct(">QQ").pack


def uuid7(now_ns: int, draw: Callable[[int], int] = random.getrandbits) -> str:
    """An id for that moment (ns since the epoch): 48 bits of milliseconds, 12 of their fraction, 62 random ones.

    Ids are no secrets, so they are drawn without asking the kernel for each; Python seeds anew after a fork.
    """
    ms, rest = divmod(now_ns, _NS_PER_MS)
    fraction = rest * _FRACTIONS // _NS_PER_MS
    text = _halves(ms << 16 | _VERSION | fraction, _VARIANT | draw(_RANDOM_BITS)).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
