"""After a process was ended in the middle of its work: one record at a time of each portal, noted before it begins.

An event may end its worker, by a crash in a library in C, or for want of memory. It comes again with the next start, as
does all else that was at work, and nobody's events get done any more. So what was at work is noted from then on. Those
that were so when a process was ended are suspects, and stand in a line of their own; the one with which the next is
ended is tried alone; and what ends a process alone, twice, is given up.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from zlib import crc32

from forebay.processors.errors import ProcessDied
from forebay.processors.parking.restored import Restored
from forebay.processors.partitions import Lane
from forebay.processors.reports import tell_alone
from forebay.queues.contract import StoredRecord
from forebay.schemas.logger import get_logger

from .life import AtWork, Ended, Life
from .suspects import Suspects, Verdict

_log = get_logger(__name__)

#: How often it is looked whether another process was ended. Its partitions come to us after a session at the earliest.
_LOOK_EVERY_S = 1.0

#: After an end it is noted for so long what is at work, which costs a few microseconds an event. Kubernetes puts off
#: the start of what was ended again and again by five minutes at most.
_CAREFUL_S = 900.0

#: So long does a record that is to be alone wait for all others, and so long do they wait for one that is alone or in
#: line: a handler in a thread may never end.
_PATIENCE_S = 30.0

#: The sources of records that no order brought back; orders are offsets.
_TOPIC, _PARKED = -1, -2

#: In `data_dir`.
_FOLDER = "workers"

_WHERE_TO_READ = "docs/trouble.md, An event that ends its worker"


def open_caution(data_dir: Path) -> "Caution | None":
    """That of this process; None, which is told, where its folder can't be had."""
    try:
        return Caution(Life(data_dir / _FOLDER))
    except OSError as error:
        _log.warning("should an event end its worker again and again, it can't be found out", error=str(error))
        return None


class Care:
    """Of one turn of a lane, which has one record: how it is to be handled."""

    __slots__ = ("_caution", "given_up", "is_suspect", "number", "timer", "work")

    def __init__(self, caution: "Caution", number: int, work: AtWork, *, is_suspect: bool) -> None:
        self._caution, self.number, self.work = caution, number, work
        #: Nothing else of its portal may be handled together with it.
        self.is_suspect = is_suspect
        #: Set where it is not to be handled.
        self.given_up: ProcessDied | None = None
        #: When the others wait for it no longer.
        self.timer: asyncio.TimerHandle | None = None

    def takes(self, records: Iterable[StoredRecord]) -> None:
        """The call is about all from the first to the last of these."""
        places = [_place(record) for record in records]
        offsets = [offset for source, offset in places if source == self.work.source]
        if len(offsets) > 1:
            self._caution.note(self.number, self.work._replace(first=min(offsets), last=max(offsets)))


class Caution:
    """Of one process, whatever groups it has. Slots ask it while it `is_needed`; it costs nothing otherwise."""

    def __init__(self, life: Life, *, patience_s: float = _PATIENCE_S) -> None:
        """Looks at once. Raises `OSError` where the folder can't be read."""
        self._life, self._patience_s = life, patience_s
        self.is_needed = False
        self._known: frozenset[str] = frozenset()
        self._suspects = Suspects()
        #: Suspects that were tried in this life, which goes on; or were given up, and somebody wants them tried again.
        self._survived: set[AtWork] = set()
        self._free: list[int] = []
        self._numbers = count()
        self._at_work = 0
        self._nobody = _set_event()
        #: Whose turn it is in the line of suspects, and who is alone, or waits to be.
        self._in_line: object | None = None
        self._alone: object | None = None
        self._not_alone = _set_event()
        self._is_blind = False
        self._learn(life.ended())

    async def run(self) -> None:
        """Look regularly."""
        why_not = ""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                # In a thread: a disk that hangs must not hold up the events.
                self._learn(await asyncio.to_thread(self._life.ended))
                why_not = ""
            except (OSError, RuntimeError) as error:
                # The second where the system has no thread for it.
                if not why_not:
                    _log.warning("whether other workers were ended can't be seen", error=str(error))
                why_not = str(error)

    def close(self, *, asked: bool) -> None:
        """The process ends by itself: as it was asked to, or by an error. Who starts anew when asked forgets it all."""
        try:
            if asked:
                self._life.forget()
            self._life.close()
        except OSError as error:
            _log.warning("this worker will be taken for one that was ended", error=str(error))

    async def enter(self, whose: int, lane: Lane) -> Care | None:
        """Wait until the lane's first record may be handled, and note it. None when it is to be put back for a while.

        `leave` it afterwards. The lane may be given back, or be emptied, meanwhile: look again.
        """
        while lane.records and lane.partition.is_open:
            work = _at_work(whose, lane.records[0])
            # With a burial nobody is called any more.
            verdict = Verdict.CLEAR if lane.burial is not None else self._verdict(work)
            if self._alone is not None:
                if verdict is not Verdict.CLEAR:
                    return None
                await self._not_alone.wait()
            elif verdict is Verdict.CLEAR:
                return self._enter(work)
            elif verdict is Verdict.GIVEN_UP:
                return self._give_up(work)
            elif self._in_line is not None:
                return None
            elif verdict is Verdict.IN_LINE:
                self._in_line = care = self._enter_as_suspect(work)
                return care
            else:
                return await self._enter_alone(work, lane)
        return None

    def leave(self, care: Care, *, was_tried: bool) -> None:
        """Its turn is over, or it waits for the next one. It may have waited for a budget, or been cut off: no try."""
        self._let_others_go_on(care)
        if care.is_suspect:
            # Those of the others are written over, and name what will not come again.
            self._write(lambda: self._life.clear(care.number))
            if was_tried:
                self._survived.add(care.work._replace(alone=False))
        heapq.heappush(self._free, care.number)
        self._at_work -= 1
        if not self._at_work:
            self._nobody.set()

    def note(self, number: int, work: AtWork) -> None:
        """Write down what is at work."""
        self._write(lambda: self._life.note(number, work))

    def _verdict(self, work: AtWork) -> Verdict:
        verdict = self._suspects.verdict(work)
        # Everybody waits for what is tried alone: once is enough.
        return min(verdict, Verdict.IN_LINE) if work in self._survived else verdict

    def _enter(self, work: AtWork, *, is_suspect: bool = False) -> Care:
        number = heapq.heappop(self._free) if self._free else next(self._numbers)
        self.note(number, work)
        self._at_work += 1
        self._nobody.clear()
        return Care(self, number, work, is_suspect=is_suspect)

    def _enter_as_suspect(self, work: AtWork) -> Care:
        care = self._enter(work, is_suspect=True)
        care.timer = asyncio.get_running_loop().call_later(self._patience_s, self._let_others_go_on, care)
        return care

    async def _enter_alone(self, work: AtWork, lane: Lane) -> Care | None:
        self._alone = record = lane.records[0]
        self._not_alone.clear()
        try:
            is_alone = await self._is_alone()
            # It may have been given back meanwhile, or parked.
            if lane.partition.is_open and lane.records and lane.records[0] is record:
                tell_alone(record, self._suspects.deaths(work)[0])
                self._alone = care = self._enter_as_suspect(work._replace(alone=is_alone))
                return care
            return None
        finally:
            if self._alone is record:
                self._end_alone()

    async def _is_alone(self) -> bool:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._nobody.wait()
        except TimeoutError:
            return False
        return True

    def _let_others_go_on(self, care: Care) -> None:
        """It is over, or takes too long for them to wait for it."""
        if care.timer is not None:
            care.timer.cancel()
        if self._in_line is care:
            self._in_line = None
        if self._alone is care:
            self.note(care.number, care.work._replace(alone=False))
            self._end_alone()

    def _end_alone(self) -> None:
        self._alone = None
        self._not_alone.set()

    def _give_up(self, work: AtWork) -> Care:
        deaths, alone = self._suspects.deaths(work)
        how = f"{deaths} workers were ended while it was handled, {alone} of them with nothing beside it"
        care = self._enter(work, is_suspect=True)
        care.given_up = ProcessDied(how, deaths=deaths, is_last=True)
        return care

    def _learn(self, ended: list[Ended]) -> None:
        names = frozenset(one.name for one in ended)
        self.is_needed = any(one.seconds_ago < _CAREFUL_S for one in ended)
        if names != self._known:
            self._suspects = Suspects(one.at_work for one in ended)
        if fresh := names - self._known:
            _log.warning(
                "workers of this host were ended in the middle of their work; what is at work is noted, to find out "
                "whether it is an event that ends them",
                workers=len(fresh),
                advice=f"should it go on: {_WHERE_TO_READ}",
            )
        self._known = names

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            # What can't be noted can't be found out, and that is all: the events go on.
            if not self._is_blind:
                _log.warning("what is at work can't be noted", error=str(error))
            self._is_blind = True


def _at_work(whose: int, record: StoredRecord) -> AtWork:
    source, offset = _place(record)
    portal = crc32(record.key.encode(errors="replace"))
    return AtWork(whose, portal, record.partition, source, offset, offset, alone=False)


def _place(record: StoredRecord) -> tuple[int, int]:
    """In which of a partition's streams it was read, and where. What is replayed is another thing with each order."""
    if not isinstance(record, Restored):
        return _TOPIC, record.offset
    return record.replay.order if record.replay is not None else _PARKED, record.position


def whose(topic: str, group: str) -> int:
    """The name of a group's topic in notes."""
    return crc32(f"{topic}\0{group}".encode())


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
