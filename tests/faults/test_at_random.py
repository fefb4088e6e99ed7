"""Faults that come together, drawn by chance: a disk that fails while the broker hangs, and a death in between."""

import asyncio
import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from tests.kafka.cluster import Cluster, Node

from .failing import End, Failing
from .hosts import kill_all, workers
from .networks import Proxy
from .stand import LONG, SEED, UNDECIDED, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(900)]

#: Draws others, to look for what nobody has seen yet.
OTHER_SEED = "FOREBAY_TEST_SEED"

#: For so many seconds a fault lasts, and so long it is quiet between two of a kind.
_LASTS_S, _REST_S = (0.3, 4.0), (0.5, 4.0)

#: Seconds each way to the broker: less than the time that an event may wait for the queue, or more.
_SLOW_S = (0.02, 0.4)

#: So often in a row connections break, with so many seconds between.
_BREAKS, _BETWEEN_BREAKS_S = 6, (0.0, 0.5)

#: A worker dies in one of its next so many calls of a kind.
_CALLS = 32

_DISK = (
    {"write": errno.ENOSPC},
    {"write": errno.EIO},
    {"sync": errno.ENOSPC},
    {"sync": errno.EIO},
    {"read": errno.EIO},
)


@dataclass(kw_only=True)
class Chance:
    """Breaks the broker or the way to it, the processes of the ingest, and their disk: each in turns of its own."""

    stand: Stand
    cluster: Cluster
    proxy: Proxy
    failing: Failing
    rng: Random
    #: How often what was done.
    done: Counter[str] = field(default_factory=Counter)

    async def play(self, events: int, *, disk: bool) -> None:
        """Return when so many events were answered, and what was broken is whole again."""
        self._ends, self._began = asyncio.Event(), time.monotonic()
        network = (self.slow_network, self.hold_up_network, self.break_connections)
        async with asyncio.TaskGroup() as hands:
            hands.create_task(self._again((self.hang_broker, self.kill_broker, *network)))
            hands.create_task(self._again((self.kill_worker, self.die_in_commit, self.restart, self.kill_all)))
            if disk:
                hands.create_task(self._again((self.fail_disk,)))
            await self.stand.portals.answered(events)
            self._ends.set()
        self.failing.end(End.IN_WRITE, 0)

    async def _again(self, faults: Sequence[Callable[[], Awaitable[None]]]) -> None:
        while not self._ends.is_set():
            await self._between(_REST_S)
            fault = self.rng.choice(faults)
            began = time.monotonic() - self._began
            await fault()
            self.done[fault.__name__] += 1
            # Where something is lost, it is shown what was broken then.
            print(f"{fault.__name__} from {began:.2f} s to {time.monotonic() - self._began:.2f} s")

    async def _between(self, seconds: tuple[float, float]) -> None:
        await asyncio.sleep(self.rng.uniform(*seconds))

    async def hang_broker(self) -> None:
        """The broker stops answering."""
        [node] = self.cluster.nodes
        node.signal(signal.SIGSTOP)
        await self._between(_LASTS_S)
        node.signal(signal.SIGCONT)

    async def kill_broker(self) -> None:
        """It dies, and is started again."""
        [node] = self.cluster.nodes
        await asyncio.to_thread(node.stop, signal.SIGKILL)
        await self._between(_LASTS_S)
        node.start()
        await asyncio.to_thread(self.cluster.wait_ready)

    async def slow_network(self) -> None:
        """The way to it is slow."""
        self.proxy.latency_s = self.rng.uniform(*_SLOW_S)
        await self._between(_LASTS_S)
        self.proxy.latency_s = 0.0

    async def hold_up_network(self) -> None:
        """What is sent to it and by it waits."""
        self.proxy.cut()
        await self._between(_LASTS_S)
        self.proxy.join()

    async def break_connections(self) -> None:
        """Those to it break, and the next ones too."""
        for _ in range(self.rng.randint(1, _BREAKS)):
            self.proxy.drop()
            await self._between(_BETWEEN_BREAKS_S)

    async def kill_worker(self) -> None:
        """A process of the ingest dies, whichever it is."""
        if serving := workers(self.stand.site):
            os.kill(self.rng.choice(serving), signal.SIGKILL)

    async def die_in_commit(self) -> None:
        """One is to die as it writes to the spool, when somebody next does."""
        self.failing.end(self.rng.choice(list(End)), self.rng.randint(1, _CALLS))

    async def restart(self) -> None:
        """SIGTERM to the ingest, and another in its place."""
        await asyncio.to_thread(self.stand.site.stop, "ingest")
        await self._start()

    async def kill_all(self) -> None:
        """Its processes die all at once, and another ingest is started."""
        await asyncio.to_thread(kill_all, self.stand.site)
        await self._start()

    async def _start(self) -> None:
        site = self.stand.site
        site.start("ingest", "ingest", "--processes", str(self.stand.processes))
        await asyncio.to_thread(site.wait, "the ingest", site.is_ready)

    async def fail_disk(self) -> None:
        """Writes, syncs or reads of the spool fail."""
        self.failing.fail(**self.rng.choice(_DISK))
        await self._between(_LASTS_S)
        self.failing.fail()


@pytest.mark.parametrize("disk", [False, True], ids=["sound", "failing"])
async def test_faults_that_come_together_cost_nothing_that_was_acknowledged_and_no_order(
    clusters: Callable[..., Cluster], stands: Callable[..., Stand], failing: Failing, tmp_path: Path, disk: bool
) -> None:
    node = Node(1, tmp_path / "node")
    with Proxy(node.port) as proxy:
        node.advertised_port = proxy.port
        cluster = clusters([node])
        stand = stands(cluster, replace(LONG, meanwhile=30_000))
        stand.site.variables = failing.environ
        await stand.start()
        rng = Random(int(os.environ.get(OTHER_SEED, SEED)))
        chance = Chance(stand=stand, cluster=cluster, proxy=proxy, failing=failing, rng=rng)

        async with stand.loaded(), stand.fault():
            await chance.play(stand.size.meanwhile, disk=disk)

        deaths = sum(chance.done[how] for how in ("kill_worker", "die_in_commit", "restart", "kill_all"))
        done = ", ".join(f"{how.replace('_', ' ')} {times}" for how, times in sorted(chance.done.items()))
        what = "broker, network, processes and disk" if disk else "broker, network and processes"
        # Where neither the queue nor the disk can say that it has an event, its call waits.
        untimed = ("open_p99_ms", "bare_p99_ms", *(("p50_ms", "p99_ms", "max_ms") if disk else ()))
        row = await stand.judged(
            f"everything: {what} of an ingest, by chance, several at a time",
            bound=deaths * UNDECIDED + chance.done.total() * LONG.connections,
            note=done,
            **dict.fromkeys(untimed),
        )
    # Whatever else breaks: as long as the disk is sound, every event that is heard is kept.
    assert disk or row.refused == 0
