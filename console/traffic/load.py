"""Simulated portals at work: each sends its next event when the one before was answered."""

import asyncio
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, cycle, islice
from random import Random
from time import monotonic, time
from typing import TextIO

from orjson import loads

from forebay.console.running import heard
from forebay.console.terminal.progress import progress

from .connection import Answer, Connection, Target
from .simulated import Bodies, SimulatedPortal

#: Portals drawn at once.
_DRAWN = 1000

#: How often it is told how far a load is.
_TOLD_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many events, how fast (events a second, None as fast as it goes), over how many connections."""

    count: int
    rate: float | None
    concurrency: int
    #: Zipf's exponent: the n-th portal sends n**-s as much as the first. None: all the same.
    zipf: float | None


@dataclass(kw_only=True)
class Outcome:
    """What was answered so far."""

    #: Answer, as people call it → how often.
    answers: Counter[str] = field(default_factory=Counter)
    #: The id that the ingest gave → the portal's number and the sequence number.
    accepted: dict[str, tuple[int, int]] = field(default_factory=dict)
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    seconds: float = 0.0

    @property
    def sent(self) -> int:
        """Events that were answered in some way, or given up."""
        return len(self.latencies_s)


class Load:
    """Sends the plan's events, and keeps what was answered."""

    def __init__(self, plan: Plan, target: Target, bodies: Bodies, rng: Random) -> None:
        self.outcome = Outcome()
        self._plan, self._target, self._bodies = plan, target, bodies
        self._draws = islice(draws(len(bodies.portals), plan.zipf, rng), plan.count)
        self._sequences = [0] * len(bodies.portals)
        #: The portals that wait for an answer → how many more events they have by now.
        self._busy: dict[int, int] = {}
        self._due = 0

    async def run(
        self, clock: Callable[[], float] = monotonic, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        """Send everything. Cancelling stops it; what was answered stays in `outcome`."""
        self._clock, self._sleep, self._started = clock, sleep, clock()
        connections = [Connection(self._target) for _ in range(self._plan.concurrency)]
        try:
            await asyncio.gather(*(self._work(connection) for connection in connections))
        finally:
            self.outcome.seconds = clock() - self._started
            for connection in connections:
                connection.close()

    async def _work(self, connection: Connection) -> None:
        for portal in self._draws:
            await self._pace()
            if portal in self._busy:
                self._busy[portal] += 1
                continue
            self._busy[portal] = 1
            while self._busy[portal]:
                await self._send(connection, portal)
                self._busy[portal] -= 1
            del self._busy[portal]

    async def _pace(self) -> None:
        if self._plan.rate is not None:
            due, self._due = self._started + self._due / self._plan.rate, self._due + 1
            if (early := due - self._clock()) > 0:
                await self._sleep(early)

    async def _send(self, connection: Connection, portal: int) -> None:
        self._sequences[portal] += 1
        sequence = self._sequences[portal]
        body = self._bodies.body(self._bodies.portals[portal], sequence, time())
        started = self._clock()
        answer = await connection.post(body)
        self.outcome.latencies_s.append(self._clock() - started)
        status, event_id = read(answer)
        self.outcome.answers[status] += 1
        if event_id is not None:
            self.outcome.accepted[event_id] = (portal, sequence)


async def watched(load: Load, count: int, stream: TextIO) -> None:
    """Run the load to its end, or until Ctrl-C or SIGTERM, and tell how far it is."""
    with progress("sending", count, stream) as told:
        work = asyncio.create_task(load.run())
        # The account of what was sent until then is still to come.
        with heard(work.cancel):
            while not work.done():
                await asyncio.wait([work], timeout=_TOLD_EVERY_S)
                told(load.outcome.sent)
        with suppress(asyncio.CancelledError):
            await work


def draws(portals: int, zipf: float | None, rng: Random) -> Iterator[int]:
    """Which portal has the next event, without end."""
    if zipf is None:
        yield from cycle(range(portals))
    weights = list(accumulate((number + 1) ** -(zipf or 0.0) for number in range(portals)))
    while True:
        yield from rng.choices(range(portals), cum_weights=weights, k=_DRAWN)


def read(answer: Answer) -> tuple[str, str | None]:
    """What people call the answer, and the event's id if it was accepted."""
    if answer.status == 0:
        return f"no answer: {answer.body.decode()}", None
    try:
        content = loads(answer.body)
        said = content.get("status") or content.get("error") or ""
        event_id = content["id"] if answer.status == 200 and said == "accepted" else None
    except (ValueError, AttributeError, KeyError):
        said, event_id = "(not in our words)", None
    return f"{answer.status} {said}".rstrip(), event_id


def portal_numbers(portals: list[SimulatedPortal]) -> dict[tuple[str, str | None], int]:
    """Who a portal is in the queue → its number; the member_id tells runs apart."""
    return {(portal.domain, portal.member_id): number for number, portal in enumerate(portals)}
