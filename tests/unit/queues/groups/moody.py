"""Ways to a made-up store, on which anything may go wrong."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from forebay.queues.contract import Commit, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.queues.groups.bell import Bell
from forebay.queues.groups.contract import Beat, Stretch, Wanted
from forebay.queues.groups.parts import one_by_one
from forebay.queues.groups.shares import GroupView
from forebay.queues.threads.connection_thread import ConnectionThread, Lives
from forebay.queues.threads.undone import Undone

from .keeping import GROUP, SESSION_S, STREAM, Keeping
from .turns import Calls, Turn, pause

T = TypeVar("T")

What = Literal["group", "check", "view", "beat", "commit", "release", "leave", "sweep", "ends", "read", "still_has"]


#: Records of one byte that one read has room for.
_ROOM = 5


class BrokenError(Exception):
    """The client's own error."""


@dataclass(frozen=True, slots=True)
class Mood:
    """What becomes of one call: how long it and its answer are on their way, whether it is done and fails."""

    there_s: float = 0.0
    back_s: float = 0.0
    is_done: bool = True
    fails: bool = False
    #: What fails may be done all the same, so much later.
    later_s: float | None = None
    is_undone: bool = False


WELL = Mood()

#: Of seconds, of which a session has one: the last are longer.
WAITS_S = (0.1, 0.4, 1.3)

MOODS = (
    *(Mood(there_s=seconds) for seconds in WAITS_S),
    *(Mood(back_s=seconds) for seconds in WAITS_S),
    Mood(there_s=0.7, back_s=0.7),
    *(Mood(there_s=seconds, is_done=False) for seconds in (0.0, 0.4, 1.3)),
    *(Mood(back_s=seconds, fails=True) for seconds in (0.0, 0.4, 1.3)),
    *(Mood(is_done=False, later_s=seconds) for seconds in WAITS_S),
    Mood(is_undone=True),
)


@dataclass(eq=False, slots=True)
class Way:
    """A connection."""

    is_lost: bool = False
    #: Whether that shows before it is used.
    is_known: bool = False

    def close(self) -> None:
        self.is_lost = True


class Store:
    """What connections lead to."""

    name = "memory"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.keeping = clock, Keeping(clock)
        self.moods: dict[str, deque[Mood]] = defaultdict(deque)
        self.ways: list[Way] = []
        #: What becomes of a call of which nothing else was said.
        self.mood: Callable[[], Mood] = lambda: WELL
        self.is_away = False
        #: What is still on its way although its caller has given up, and when it arrives.
        self.late: list[tuple[float, Callable[[], object]]] = []

    def connect(self) -> Way:
        pause()
        if self.is_away:
            raise QueueUnavailable("it is away")
        self.ways.append(way := Way())
        return way

    def current(self, way: Way) -> bool:
        return not (way.is_lost and way.is_known)

    def remedy(self, error: Exception) -> str:
        return str(error)

    def lose_ways(self, *, is_known: bool) -> None:
        for way in self.ways:
            way.is_lost, way.is_known = True, way.is_known or is_known

    def arrive(self) -> None:
        """Let that come which is late."""
        due = [do for at, do in self.late if at <= self.clock()]
        self.late = [(at, do) for at, do in self.late if at > self.clock()]
        for do in due:
            do()

    def go(self, way: Way, what: What, do: Callable[[], T]) -> T:
        mood = self.moods[what].popleft() if self.moods[what] else self.mood()
        self._pass(mood.there_s)
        if self.is_away or way.is_lost:
            way.is_lost = True
            raise BrokenError("the connection is lost")
        if mood.is_undone:
            raise Undone("for another's sake")
        if mood.later_s is not None:
            self.late.append((self.clock() + mood.later_s, do))
        answer = do() if mood.is_done else None
        self._pass(mood.back_s)
        if mood.fails or answer is None:
            raise BrokenError("there is no answer")
        return answer

    def _pass(self, seconds: float) -> None:
        at = self.clock() + seconds
        pause(lambda: self.clock() >= at)


class MemberThread(ConnectionThread[Way]):
    """As in the product, but that it takes turns."""

    def __init__(self, store: Store, name: str, begin: Callable[[Callable[[], None]], Turn], lives: Lives) -> None:
        super().__init__(store, name, errors=(BrokenError,), lives=lives)
        self._calls: Any = Calls()
        self._begin = begin

    def _started(self) -> Any:
        return self._begin(self._run)


class MemberStore:
    """The store of one consumer, which is its group and its log, too."""

    name, stream, session_s, sweep_every_s = GROUP, STREAM, SESSION_S, 0.5

    def __init__(self, store: Store, begin: Callable[[Callable[[], None]], Turn]) -> None:
        self._store, self._keeping, self._begin = store, store.keeping, begin
        self.me, self._writes = "", 0

    def thread(self, name: str, lives: Lives) -> MemberThread:
        return MemberThread(self._store, name, self._begin, lives)

    def member(self, way: Way, me: str) -> tuple["MemberStore", "MemberStore"]:
        member = MemberStore(self._store, self._begin)
        member.me = me
        return self._store.go(way, "group", lambda: (member, member))

    # The group.

    def check(self, way: Way) -> None:
        self._store.go(way, "check", lambda: True)

    def view(self, way: Way, held: Collection[int]) -> GroupView:
        return self._store.go(way, "view", lambda: self._keeping.view(self.me, held))

    def beat(self, way: Way, held: Mapping[int, int], *, is_leaving: bool) -> Beat:
        do = partial(self._keeping.beat, self.me, dict(held), is_leaving=is_leaving)
        return self._store.go(way, "beat", do)

    def commit(self, way: Way, epochs: Mapping[int, int], commits: Mapping[int, Commit]) -> set[int]:
        return self._store.go(way, "commit", lambda: self._keeping.commit(self.me, epochs, commits))

    def release(self, way: Way, epochs: Mapping[int, int]) -> None:
        self._store.go(way, "release", lambda: self._keeping.release(self.me, epochs))

    def leave(self, way: Way) -> None:
        self._store.go(way, "leave", lambda: self._keeping.leave(self.me))

    def sweep(self, way: Way, partition: int) -> bool:
        return self._store.go(way, "sweep", lambda: self._keeping.sweep(partition))

    # The log.

    def begin(self, way: Way) -> None:
        self._writes = self._keeping.writes

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        end = self._store.clock() + timeout_s
        pause(lambda: bell.wait(0) or self._keeping.writes > self._writes or self._store.clock() >= end)

    def ends(self, way: Way, partitions: Collection[int]) -> dict[int, int]:
        return self._store.go(way, "ends", lambda: {number: self._keeping.ends[number] for number in partitions})

    def read(self, way: Way, wanted: Sequence[Wanted]) -> list[Stretch]:
        def stretch(one: Wanted, room: int) -> Stretch:
            return self._keeping.read(one, min(one.most, room))

        return self._store.go(way, "read", lambda: one_by_one(wanted, stretch, _ROOM))

    def still_has(self, way: Way, record: StoredRecord) -> bool:
        return self._store.go(way, "still_has", lambda: self._keeping.still_has(record.partition, record.offset))
