"""Which event it was, by what the processes that were ended had at work. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import IntEnum

from .life import AtWork

#: From the second end on that finds a record at work it is no chance: then it is tried with nothing else beside it.
_ALONE_FROM = 2

#: So often a process is ended while a record is alone in it, and no more: once may be for want of memory, or a kill.
_ALONE = 2


class Verdict(IntEnum):
    """What is to become of a record."""

    #: Nobody was ended while it was at work.
    CLEAR = 0
    #: It was one of many at work: no two of those at once, so that the next end tells which.
    IN_LINE = 1
    #: It was so again, the only one of its kind: nothing else beside it, so that another end is nobody else's doing.
    ALONE = 2
    #: It is what ends its process.
    GIVEN_UP = 3


class Suspects:
    """`lives` has for each process that was ended what was at work there."""

    def __init__(self, lives: Iterable[Sequence[AtWork]] = ()) -> None:
        self._lives: dict[tuple[int, ...], list[tuple[int, AtWork]]] = defaultdict(list)
        for number, life in enumerate(lives):
            for work in life:
                self._lives[work[:4]].append((number, work))

    def deaths(self, work: AtWork) -> tuple[int, int]:
        """How many processes were ended while the first of these records was at work, and in how many it was alone."""
        found = [
            (number, one.alone) for number, one in self._lives.get(work[:4], ()) if one.first <= work.first <= one.last
        ]
        return len({number for number, _ in found}), len({number for number, alone in found if alone})

    def verdict(self, work: AtWork) -> Verdict:
        """On the first of these records."""
        deaths, alone = self.deaths(work) if self._lives else (0, 0)
        if alone >= _ALONE:
            return Verdict.GIVEN_UP
        return Verdict.ALONE if deaths >= _ALONE_FROM else Verdict(deaths)
