"""Portals that send through one address, each at a path of its own, and note what was answered."""

import asyncio
from collections import Counter, defaultdict
from random import Random
from time import time

from orjson import JSONDecodeError, loads

from forebay.console.traffic.connection import Connection, target_of
from forebay.console.traffic.simulated import Bodies, SimulatedPortal
from tests.order import named


class Callers:
    """Each portal sends one event after the other, and nothing twice, until `stop`."""

    def __init__(self, url: str, portals: int, *, token: str, pause_s: float) -> None:
        self._url, self._pause_s = url, pause_s
        self._bodies = Bodies(portals, token, Random(7))
        self._end = asyncio.Event()
        #: Portal → the events that were answered as kept, in the order of sending.
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.answers: Counter[str] = Counter()

    async def run(self) -> None:
        """Send until `stop`."""
        await asyncio.gather(*(self._one(portal) for portal in self._bodies.portals))

    def stop(self) -> None:
        """Send no more."""
        self._end.set()

    async def answered(self, more: int) -> None:
        """Return when so many more calls are answered."""
        aim = self.answers.total() + more
        while self.answers.total() < aim:
            await asyncio.sleep(0.01)

    async def _one(self, portal: SimulatedPortal) -> None:
        target, sequence = target_of(f"{self._url}/{portal.domain}"), 0
        while not self._end.is_set():
            sequence += 1
            # A connection for each: a balancer that reads its configuration anew closes those that are idle just then.
            wire = Connection(target)
            answer = await wire.post(self._bodies.body(portal, sequence, time()))
            wire.close()
            self._note(portal.domain, sequence, answer.status, answer.body)
            await asyncio.sleep(self._pause_s)

    def _note(self, portal: str, sequence: int, status: int, body: bytes) -> None:
        try:
            content = loads(body)
        except JSONDecodeError:
            content = {}
        self.answers[f"{status} {content.get('status') or content.get('error') or body.decode(errors='replace')}"] += 1
        if content.get("status") == "accepted":
            self.kept[portal].append(named(content["id"], sequence))
