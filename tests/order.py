"""What handlers did, written down by themselves, and whether it keeps the promises about order."""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

#: A module of handlers that write into one book, however many processes they run in: a line when one begins, ends, or
#: is cancelled. `BOOK` in the environment says where it is.
HANDLERS = """
import asyncio
import os
import random

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    name = f"{event.id}#{event.fields['data[FIELDS][ID]']}"
    line = f"{event.portal} {name} {os.getpid()}\\n".encode()
    os.write(book, b"began " + line)
    try:
        await asyncio.sleep(random.random() * 0.01)
    except asyncio.CancelledError:
        os.write(book, b"dropped " + line)
        raise
    os.write(book, b"ended " + line)
"""


def named(event_id: str, sequence: int | str) -> str:
    """An event as the book names it: one whose content has changed is then another."""
    return f"{event_id}#{sequence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the book: what a handler did with which event, in which place among all lines.

    A call of several events may say of each that it was `taken`, before it begins the first. A process that a worker
    has for its calls, and may end in the middle of one, says that it is a `child`.

    Each is appended at once, whoever writes: their order is that in which things happened.
    """

    number: int
    what: str
    portal: str
    event: str
    pid: int


class Book:
    """The book, read on where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        #: The events that some handler has brought to its end.
        self.ended: set[str] = set()
        self._path, self._at = path, 0
        self._reading = Lock()

    def read(self) -> "Book":
        """Take what was written since, as far as its lines are whole: where a page ends, half of one is seen before.

        Any thread may: two that read at once would take the same lines twice.
        """
        with self._reading:
            for text in self._new().decode("ascii").splitlines():
                self._take(text)
        return self

    def _new(self) -> bytes:
        if not self._path.exists():
            return b""
        with self._path.open("rb") as file:
            file.seek(self._at, os.SEEK_SET)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole

    def gone(self, pid: int) -> None:
        """Write down that the process was killed or frozen: what it has under way may be another's from now on."""
        with self._path.open("ab") as file:
            file.write(f"gone - - {pid}\n".encode())

    def _take(self, text: str) -> None:
        what, portal, event, pid = text.split()
        self.lines.append(Line(number=len(self.lines), what=what, portal=portal, event=event, pid=int(pid)))
        if what == "ended":
            self.ended.add(event)


@dataclass(kw_only=True)
class Verdict:
    """What is wrong with a book, and what came again, which is allowed."""

    lost: set[str] = field(default_factory=set)
    #: Handled, though nobody was told that they are kept.
    unasked: set[str] = field(default_factory=set)
    #: Portals whose events ended in another order than they were sent, counting each event's first end.
    out_of_order: list[str] = field(default_factory=list)
    #: Began while another event of its portal was under way.
    at_once: list[Line] = field(default_factory=list)
    #: Began although they had ended before.
    again: list[Line] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.unasked or self.out_of_order or self.at_once)


def judge(sent: Mapping[str, Sequence[str]], lines: Sequence[Line]) -> Verdict:
    """`sent` has each portal's events that were answered as kept, in the order in which they were sent."""
    ends = _Ends(last={line.pid: line for line in lines if line.what != "gone"})
    for line in lines:
        ends.see(line)
    verdict = ends.verdict
    kept = {event for events in sent.values() for event in events}
    verdict.lost, verdict.unasked = kept - ends.seen, ends.seen - kept
    verdict.out_of_order = [
        portal
        for portal, events in sent.items()
        if [event for event in ends.first[portal] if event in kept] != [event for event in events if event in ends.seen]
    ]
    return verdict


class _Ends:
    """Goes through a book. `last` has each process's last line."""

    def __init__(self, last: Mapping[int, Line]) -> None:
        self.verdict = Verdict()
        self._last = last
        self._children: set[int] = set()
        self.seen: set[str] = set()
        #: Each portal's events in the order of their first ends.
        self.first: dict[str, list[str]] = defaultdict(list)
        self._under_way: dict[str, Line] = {}
        #: Each process's events that a call has and hasn't begun: taken from now on, and before it was frozen.
        self._taken: dict[int, set[str]] = defaultdict(set)
        self._taken_before: dict[int, set[str]] = defaultdict(set)

    def see(self, line: Line) -> None:
        if line.what == "taken":
            self._taken[line.pid].add(line.event)
        elif line.what == "child":
            self._children.add(line.pid)
        elif line.what == "began":
            self._begin(line)
        elif line.what == "gone":
            self._under_way = {portal: other for portal, other in self._under_way.items() if other.pid != line.pid}
            self._taken_before[line.pid] |= self._taken.pop(line.pid, set())
        else:
            self._leave(line)
        if line.what == "ended" and line.event not in self.seen:
            self.seen.add(line.event)
            self.first[line.portal].append(line.event)

    def _begin(self, line: Line) -> None:
        self._taken[line.pid].discard(line.event)
        if line.event in self.seen:
            self.verdict.again.append(line)
        # The call was under way when its process was frozen, and may be another's since: nobody can hold it up.
        if line.event in self._taken_before[line.pid]:
            self._taken_before[line.pid].discard(line.event)
            return
        other = self._under_way.get(line.portal)
        # A child that begins an event and never writes again was ended by its worker, or with it.
        is_ended = other is not None and other.pid in self._children and self._last[other.pid] is other
        if other is not None and not is_ended:
            self.verdict.at_once.append(line)
        self._under_way[line.portal] = line

    def _leave(self, line: Line) -> None:
        began = self._under_way.get(line.portal)
        if began is not None and (began.event, began.pid) == (line.event, line.pid):
            del self._under_way[line.portal]
