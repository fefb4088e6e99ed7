"""How many calls of handlers a portal may cost: what an author writes, as numbers."""

import re
from dataclasses import dataclass, field
from math import ceil

from .errors import BadHandler

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h)")

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Budget:
    """Calls that one portal may cost, all handlers that have it taken together: `Budget("rest", "2/s", burst=50)`.

    `rate` is a number a second, minute or hour (`2/s`, `100/min`, `5000/h`); `burst` calls may follow each other at
    once when the portal was quiet before, without it as many as a second allows. The owner of the portal's partition
    counts, so a budget holds for all workers of a group. Raises `BadHandler` when that can't be.
    """

    name: str
    rate: str
    burst: int = 0
    per_s: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what was given."""
        if faults := list(rate_faults(self.rate, self.burst or None)):
            raise BadHandler("; ".join(faults))
        object.__setattr__(self, "per_s", _per_s(self.rate))
        object.__setattr__(self, "burst", self.burst or max(1, ceil(self.per_s)))


def rate_faults(rate: object, burst: object) -> list[str]:
    """What is wrong with these two."""
    faults = []
    if not isinstance(rate, str) or not (match := _RATE.fullmatch(rate)) or float(match[1]) <= 0:
        faults.append(f'rate={rate!r}: a rate is calls a second, minute or hour: "2/s", "100/min", "5000/h"')
    if burst is not None and (not isinstance(burst, int) or burst < 1):
        faults.append(f"burst={burst!r}: at least one call must fit")
    return faults


def _per_s(rate: str) -> float:
    match = _RATE.fullmatch(rate)
    assert match is not None, "it was checked"  # noqa: S101 - for mypy
    return float(match[1]) / _SECONDS[match[2]]
