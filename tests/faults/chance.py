"""Faults that are drawn by chance, several at a time, and those of a broker and of the way to it."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Protocol

from tests.kafka.cluster import Cluster

from .networks import Proxy
from .stand import SEED

#: Makes a fault, and ends it. Its name is that of what is done.
Fault = Callable[[], Awaitable[None]]

#: Draws others, to look for what nobody has seen yet.
OTHER_SEED = "FOREBAY_TEST_SEED"

#: For so many seconds a fault lasts, and so long it is quiet between two of a kind.
_LASTS_S, _REST_S = (0.3, 4.0), (0.5, 4.0)

#: Seconds each way to the broker: less than the time that an event may wait for the queue, or more.
_SLOW_S = (0.02, 0.4)

#: So often in a row connections break, with so many seconds between.
_BREAKS, _BETWEEN_BREAKS_S = 6, (0.0, 0.5)


class Chance:
    """Draws what is done next, and when."""

    def __init__(self) -> None:
        self.rng = Random(int(os.environ.get(OTHER_SEED, SEED)))
        #: How often what was done.
        self.done: Counter[str] = Counter()

    @asynccontextmanager
    async def played(self, *hands: Sequence[Fault]) -> AsyncIterator[None]:
        """Meanwhile each hand makes one of its faults after the other; what they have broken is whole again then."""
        self._ends, self._began = asyncio.Event(), time.monotonic()
        async with asyncio.TaskGroup() as playing:
            for faults in hands:
                playing.create_task(self._play(faults))
            yield
            self._ends.set()

    async def _play(self, faults: Sequence[Fault]) -> None:
        while not self._ends.is_set():
            await self.between(_REST_S)
            fault = self.rng.choice(faults)
            began = time.monotonic() - self._began
            await fault()
            self.done[fault.__name__] += 1
            # Where something is lost, it is shown what was broken then.
            print(f"{fault.__name__} from {began:.2f} s to {time.monotonic() - self._began:.2f} s")

    async def between(self, seconds: tuple[float, float]) -> None:
        """Wait for a time between these."""
        await asyncio.sleep(self.rng.uniform(*seconds))

    async def lasting(self) -> None:
        """Wait for as long as a fault lasts."""
        await self.between(_LASTS_S)

    @property
    def told(self) -> str:
        """What was done, for a row's note."""
        return ", ".join(f"{how.replace('_', ' ')} {times}" for how, times in sorted(self.done.items()))


class Server(Protocol):
    """What a queue's server can be made to do."""

    def signal_all(self, how: signal.Signals) -> None:
        """Send a signal to every process of it."""

    def kill(self) -> None:
        """`kill -9` of all of them."""

    def start(self) -> None:
        """Start it again."""

    def wait_ready(self) -> None:
        """Return when it lets clients in."""


class Broker:
    """The only one of a Kafka cluster."""

    def __init__(self, cluster: Cluster) -> None:
        [self._node] = cluster.nodes
        self.signal_all, self.start, self.wait_ready = self._node.signal, self._node.start, cluster.wait_ready

    def kill(self) -> None:
        """As of any server."""
        self._node.stop(signal.SIGKILL)


class ServerFaults:
    """Breaks the queue's only server, or the way to it, in turns. Only what is durable outlives a server that dies."""

    def __init__(self, chance: Chance, server: Server, proxy: Proxy, *, durable: bool = True) -> None:
        self._chance, self._server, self._proxy = chance, server, proxy
        #: One hand's.
        self.all: Sequence[Fault] = (
            self.hang_server,
            *([self.kill_server] if durable else []),
            self.slow_network,
            self.hold_up_network,
            self.break_connections,
        )

    async def hang_server(self) -> None:
        """The server stops answering."""
        await asyncio.to_thread(self._server.signal_all, signal.SIGSTOP)
        await self._chance.lasting()
        self._server.signal_all(signal.SIGCONT)

    async def kill_server(self) -> None:
        """It dies, and is started again."""
        await asyncio.to_thread(self._server.kill)
        await self._chance.lasting()
        await asyncio.to_thread(self._server.start)
        await asyncio.to_thread(self._server.wait_ready)

    async def slow_network(self) -> None:
        """The way to it is slow."""
        self._proxy.latency_s = self._chance.rng.uniform(*_SLOW_S)
        await self._chance.lasting()
        self._proxy.latency_s = 0.0

    async def hold_up_network(self) -> None:
        """What is sent to it and by it waits."""
        self._proxy.cut()
        await self._chance.lasting()
        self._proxy.join()

    async def break_connections(self) -> None:
        """Those to it break, and the next ones too."""
        for _ in range(self._chance.rng.randint(1, _BREAKS)):
            self._proxy.drop()
            await self._chance.between(_BETWEEN_BREAKS_S)
