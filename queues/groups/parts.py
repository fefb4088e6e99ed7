"""What one fetch takes of each partition, so that a full one starves none."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from .contract import Stretch, Wanted

T = TypeVar("T")


def turned(ones: list[T], turn: int) -> list[T]:
    """In another order each turn: with few records to give, each partition comes first in its own."""
    first = turn % (len(ones) or 1)
    return ones[first:] + ones[:first]


def parts(waiting: Mapping[int, int], room: int) -> dict[int, int]:
    """Of so many records that wait in each partition, so many: equal parts, and what one can't use is the others'.

    What can't be parted equally goes to the first ones.
    """
    given = dict.fromkeys(waiting, 0)
    while room and (unmet := [one for one in waiting if given[one] < waiting[one]]):
        part = max(1, room // len(unmet))
        for one in unmet[:room]:
            more = min(part, waiting[one] - given[one])
            given[one] += more
            room -= more
    return given


def one_by_one(wanted: Sequence[Wanted], read: Callable[[Wanted, int], Stretch], room: int) -> list[Stretch]:
    """As `Log.read`, of a log that reads one partition at a time: what is wanted, and the bytes that it may have.

    Each has an equal part of the bytes that are left, and one record at least while any are.
    """
    found = []
    for index, one in enumerate(wanted):
        part = -(-room // (len(wanted) - index))
        found.append(read(one, part) if room > 0 else Stretch([], one.offset))
        room -= sum(len(record.value) for record in found[-1].records)
    return found
