"""Portals that send to several hosts at once: each one event after the other."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic, time

from orjson import JSONDecodeError, loads

from forebay.console.traffic.connection import Answer, Connection, target_of
from forebay.console.traffic.load import draws
from forebay.console.traffic.simulated import Bodies, SimulatedPortal
from tests.order import named

#: How unevenly portals send: the n-th so often as the first divided by n to the power of it.
ZIPF = 1.1

#: The application's token in each of their calls.
TOKEN = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An event that was sent, when, and what was answered after how long; status 0 is no answer."""

    portal: str
    sequence: int
    #: Seconds since the epoch, to hold it against a log.
    at: float
    took_s: float
    status: int


def unevenly(portals: int, rng: Random) -> Iterator[int]:
    """Which portal has the next event: a few have most of them."""
    return draws(portals, ZIPF, rng)


class Portals:
    """Sends as Bitrix24 does: nothing twice, and a portal's next event when the one before was answered."""

    def __init__(
        self,
        urls: Sequence[str],
        portals: int,
        *,
        rate: float,
        connections: int,
        seed: int,
        in_turn: bool,
        drawn: Callable[[int, Random], Iterator[int]] = unevenly,
    ) -> None:
        rng = Random(seed)
        self._bodies = Bodies(portals, TOKEN, rng)
        self._draws = drawn(portals, rng)
        self._targets = [target_of(url) for url in urls]
        self._rate, self._connections = rate, connections
        #: Whether a portal's events go by the hosts in turn; otherwise all to the same one.
        self._in_turn = in_turn
        self._sequences: Counter[int] = Counter()
        #: The portals that wait for an answer → how many more events they have by now.
        self._busy: Counter[int] = Counter()
        self._drawn = 0
        self._until = asyncio.Event()
        #: Portal → the events that were answered as kept, in the order of sending.
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.answers: Counter[str] = Counter()
        #: Every event that was sent and answered in some way, or given up.
        self.calls: list[Call] = []
        #: The longest wait for an answer since it was last set to 0.
        self.slowest_s = 0.0

    def stop(self) -> None:
        """Send no more; `run` ends when those that are under way are answered."""
        self._until.set()

    async def run(self) -> None:
        """Send until `stop`."""
        self._started = monotonic()
        await asyncio.gather(*(self._work() for _ in range(self._connections)))

    async def answered(self, more: int) -> None:
        """Return when so many more were answered."""
        aim = self.answers.total() + more
        while self.answers.total() < aim:
            await asyncio.sleep(0.01)

    async def _work(self) -> None:
        ways = [Connection(target) for target in self._targets]
        try:
            for portal in self._draws:
                await self._pace()
                if self._until.is_set():
                    break
                self._busy[portal] += 1
                if self._busy[portal] == 1:
                    await self._send_all(portal, ways)
        finally:
            for way in ways:
                way.close()

    async def _pace(self) -> None:
        due, self._drawn = self._started + self._drawn / self._rate, self._drawn + 1
        if (early := due - monotonic()) > 0:
            await asyncio.sleep(early)

    async def _send_all(self, portal: int, ways: Sequence[Connection]) -> None:
        while self._busy[portal] and not self._until.is_set():
            self._sequences[portal] += 1
            sequence = self._sequences[portal]
            way = ways[(sequence if self._in_turn else portal) % len(ways)]
            await self._send(self._bodies.portals[portal], sequence, way)
            self._busy[portal] -= 1

    async def _send(self, portal: SimulatedPortal, sequence: int, way: Connection) -> None:
        at, began = time(), monotonic()
        answer = await way.post(self._bodies.body(portal, sequence, at))
        took_s = monotonic() - began
        self.slowest_s = max(self.slowest_s, took_s)
        self.calls.append(Call(portal=portal.domain, sequence=sequence, at=at, took_s=took_s, status=answer.status))
        said, event_id = _read(answer)
        self.answers[f"{answer.status} {said}"] += 1
        if said == "accepted":
            self.kept[portal.domain].append(named(event_id, sequence))


def _read(answer: Answer) -> tuple[str, str]:
    """What was said, in a word or as it came, and the event's id."""
    try:
        content = loads(answer.body)
        return content.get("status") or content["error"], content.get("id", "")
    except (JSONDecodeError, AttributeError, KeyError):
        return answer.body.decode("utf-8", "replace"), ""
