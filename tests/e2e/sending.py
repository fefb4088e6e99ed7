"""Portals that send to several hosts at once: each one event after the other."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from random import Random
from time import monotonic, time

from orjson import loads

from forebay.console.connection import Connection, target_of
from forebay.console.load import draws
from forebay.console.simulated import Bodies, SimulatedPortal
from tests.order import named

#: How unevenly portals send: the n-th so often as the first divided by n to the power of it.
ZIPF = 1.1


class Portals:
    """Sends as Bitrix24 does: nothing twice, and a portal's next event when the one before was answered."""

    def __init__(
        self, urls: Sequence[str], portals: int, *, rate: float, connections: int, seed: int, in_turn: bool
    ) -> None:
        rng = Random(seed)
        self._bodies = Bodies(portals, "any", rng)
        self._draws = draws(portals, ZIPF, rng)
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
        for portal in self._draws:
            await self._pace()
            if self._until.is_set():
                break
            self._busy[portal] += 1
            if self._busy[portal] == 1:
                await self._send_all(portal, ways)
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
        body, began = self._bodies.body(portal, sequence, time()), monotonic()
        answer = await way.post(body)
        self.slowest_s = max(self.slowest_s, monotonic() - began)
        said = loads(answer.body) if answer.status == 200 else {"status": answer.body.decode()}
        self.answers[f"{answer.status} {said['status']}"] += 1
        if said["status"] == "accepted":
            self.kept[portal.domain].append(named(said["id"], sequence))
