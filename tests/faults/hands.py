"""What workers, portals and operators do to a crew, drawn by chance."""

import asyncio
import os
import signal

from tests.e2e.crew import Crew
from tests.e2e.site import Site

from .chance import Chance

#: How long a worker is frozen: less than its session, or longer. And how long it stays away once it has ended.
_FROZEN_S, _AWAY_S = (0.3, 9.0), (0.0, 3.0)

#: So many portals are in trouble at a time.
_IN_TROUBLE = 5

#: Between two looks whether an order is obeyed that may be long on its way.
_AGAIN_S = 0.5


class WorkerFaults:
    """What happens to one worker."""

    def __init__(self, chance: Chance, made: Crew, name: str) -> None:
        self._chance, self._made, self._name = chance, made, name
        #: One hand's.
        self.all = (self.kill_worker, self.stop_worker, self.freeze_worker, self.freeze_worker)

    async def kill_worker(self) -> None:
        """It dies, and is started again."""
        process = self._made.site.running[self._name]
        process.kill()
        await asyncio.to_thread(process.wait)
        self._made.book.gone(process.pid)
        await self._start()

    async def stop_worker(self) -> None:
        """SIGTERM, and another in its place."""
        status = await asyncio.to_thread(self._made.site.stop, self._name)
        # The latter where it had only begun to start.
        assert status in (0, -signal.SIGTERM), self._made.site.log(self._name)
        await self._start()

    async def _start(self) -> None:
        await self._chance.between(_AWAY_S)
        await asyncio.to_thread(self._made.start, self._name)

    async def freeze_worker(self) -> None:
        """It stands still, perhaps so long that the others get what it has."""
        pid = self._made.pid(self._name)
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED)
        self._made.book.gone(pid)
        await self._chance.between(_FROZEN_S)
        os.kill(pid, signal.SIGCONT)


class PortalTroubles:
    """What happens to portals: their events are tried again, their portals are parked, and loaded again."""

    def __init__(self, chance: Chance, site: Site, portals: list[str]) -> None:
        self._chance, self._site, self._portals = chance, site, portals
        #: One hand's.
        self.all = (self.fail_portals, self.hang_portals)

    async def fail_portals(self) -> None:
        """Each call for them fails."""
        await self._trouble("{}")

    async def hang_portals(self) -> None:
        """Each call for them takes as long as this lasts, or until its deadline."""
        await self._trouble("{}.hangs")

    async def _trouble(self, name: str) -> None:
        some = [
            self._site.folder / name.format(portal) for portal in self._chance.rng.sample(self._portals, _IN_TROUBLE)
        ]
        for path in some:
            path.touch()
        await self._chance.lasting()
        for path in some:
            path.unlink()


class OperatorOrders:
    """What operators order meanwhile, by the commands that they have."""

    def __init__(self, chance: Chance, made: Crew) -> None:
        self._chance, self._made = chance, made
        #: Of these portals events are given up untried, and handled when they are replayed: behind newer ones.
        self.given_up = made.portals[-_IN_TROUBLE:]
        self._others = made.portals[:-_IN_TROUBLE]
        #: One hand's.
        self.all = (self.hold_portals, self.resume_portals, self.replay_portals, self.discard_portals)

    async def hold_portals(self) -> None:
        """Portals wait until an operator lets them go on, or until the end where nobody hears that."""
        some = self._some(self._others)
        await self._order("parked", "hold", *some)
        await self._chance.lasting()
        await self._order("parked", "resume", *some)

    async def resume_portals(self) -> None:
        """Whoever waits is tried at once."""
        await self._order("parked", "resume", "--all")

    async def replay_portals(self) -> None:
        """What was handled is handled again."""
        await self._order("replay", "--from=-10s", "--until=-0s", *self._some(self._others)[:1])

    async def discard_portals(self) -> None:
        """What waits becomes dead letters, and is replayed."""
        await self._order("parked", "hold", *self._some(self.given_up))
        await self._chance.lasting()
        await self._order("parked", "discard", *self._some(self.given_up))
        await self._order("dead", "replay", "--all")

    async def end(self) -> None:
        """Nobody waits for an operator any more, and nothing stays given up: return when every event has ended."""
        while not self._made.book.read().ended >= self._made.places.keys():
            await self._order("parked", "resume", "--all")
            await self._order("dead", "replay", "--all")
            await asyncio.sleep(_AGAIN_S)

    def _some(self, portals: list[str]) -> list[str]:
        return [f"--portal={portal}" for portal in self._chance.rng.sample(portals, _IN_TROUBLE)]

    async def _order(self, *words: str) -> None:
        done = await asyncio.to_thread(self._made.site.run, *words, "--yes")
        if done.returncode:
            # Nobody may be waiting, or the queue be away.
            print(" ".join(words), done.returncode, done.stdout[-300:], done.stderr[-300:])
