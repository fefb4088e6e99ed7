"""The line at the bottom of `forebay up`: what came, what is done, what waits."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TYPE_CHECKING, TextIO

from forebay.console.terminal.output import on_terminal
from forebay.queues.errors import QueueError

if TYPE_CHECKING:
    from forebay.console.orders.parking_view import Ends, ParkingView
    from forebay.queues.contract import GroupState, Inspector

_LINE_EVERY_S = 1.0
_PLAIN_EVERY_S = 10.0

#: Back to the line's start, and erase it.
_ERASE = "\r\x1b[K"


class StatusLine:
    """Writes lines, and keeps a status below them when a person watches."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.live = on_terminal(self._stream)
        self._status = ""

    def say(self, text: str) -> None:
        """Write a line above the status."""
        self._write(f"{_ERASE}{text}\n{self._status}" if self.live else f"{text}\n")

    def show(self, status: str) -> None:
        """Replace the status; without a terminal it is a line like any other."""
        if self.live:
            # A line that wraps could not be erased.
            self._status = status[: get_terminal_size().columns - 1]
            self._write(_ERASE + self._status)
        else:
            self.say(status)

    def clear(self) -> None:
        """Take the status away."""
        if self._status:
            self._status = ""
            self._write(_ERASE)

    def _write(self, text: str) -> None:
        # A full disk or a reader that is gone costs the line: never the ingest or the workers it was about.
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Sums over the topic's partitions: offsets that were given, and what the group has handled or given up."""

    received: int
    handled: int
    #: Of those that wait. Nothing of the topic holds them any more, but nobody has handled them.
    parked: int

    @property
    def waiting(self) -> int:
        """What is not finished."""
        return self.received - self.handled


class Counting:
    """Looks again and again how far the topic is, and the group that is furthest behind."""

    def __init__(self, inspector: "Inspector", topic: str, groups: Sequence[str]) -> None:
        self._inspector, self._topic, self._groups = inspector, topic, groups
        #: By group and partition. Each look reads what is new.
        self._views: dict[tuple[str, int], ParkingView] = {}

    async def look(self) -> Counts:
        """How it stands now."""
        # Imported here: nobody else who shows a line needs all that it knows.
        from forebay.console.orders.parking_view import ends_of

        bounds = await self._inspector.bounds(self._topic)
        states = await self._inspector.groups(self._topic, self._groups)
        ends, behind = await ends_of(self._inspector, self._topic), []
        for group in self._groups:
            mine = states.get(group, {})
            committed = sum(max(mine[at].offset if at in mine else 0, bound.start) for at, bound in bounds.items())
            parked = sum([await self._parked(group, at, mine.get(at), ends) for at in bounds])
            behind.append((committed - parked, parked))
        handled, parked = min(behind)
        return Counts(received=sum(bound.end for bound in bounds.values()), handled=handled, parked=parked)

    async def _parked(self, group: str, partition: int, state: "GroupState | None", ends: "Ends") -> int:
        from forebay.console.orders.parking_view import ParkingView

        new = ParkingView(topic=self._topic, group=group, partition=partition)
        view = self._views.setdefault((group, partition), new)
        await view.look(self._inspector, state, ends)
        return sum(one.records for one in view.waiting())


async def owners(inspector: "Inspector", topic: str, groups: Sequence[str]) -> list[str | None]:
    """Who owns each partition of the topic, in each of the groups."""
    bounds, states = await inspector.bounds(topic), await inspector.groups(topic, groups)
    found = (states.get(group, {}).get(at) for group in groups for at in bounds)
    return [state.owner if state is not None else None for state in found]


async def report(inspector: "Inspector", topic: str, groups: Sequence[str], line: StatusLine) -> None:
    """Show the counts since now and their rates, without end. A queue that can't be asked just now is told."""
    every_s = _LINE_EVERY_S if line.live else _PLAIN_EVERY_S
    counting = Counting(inspector, topic, groups)
    first: Counts | None = None
    last: Counts | None = None
    while True:
        try:
            now = await counting.look()
        except QueueError as error:
            line.show(f"the queue can't be asked: {error}")
        else:
            if first is not None and last is not None and (line.live or now != last):
                line.show(_status(first, last, now, every_s))
            first, last = first or now, now
        await asyncio.sleep(every_s)


def _status(first: Counts, last: Counts, now: Counts, every_s: float) -> str:
    received, handled = now.received - first.received, now.handled - first.handled
    # What is ordered again, or parked before that is committed, was handled a moment ago.
    rates = (now.received - last.received) / every_s, max(0, now.handled - last.handled) / every_s
    parked = f", {now.parked:,} of them parked" if now.parked else ""
    return (
        f"received {received:,} ({rates[0]:,.0f}/s)  handled {handled:,} ({rates[1]:,.0f}/s)  "
        f"waiting {now.waiting:,}{parked}"
    )
