"""Networks that can be cut or slowed: a namespace of the kernel, and a proxy of our own."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from tests.ports import free_ports
from tests.serving import serving

from .reporting import Report
from .unmade import unmade

_CHUNK = 1 << 16


class Namespace:
    """A network of its own, with one wire to ours."""

    def __init__(self) -> None:
        # Names are the machine's, and an interface's has 15 letters at most.
        mark = os.getpid() % 100_000
        self.name, self._here, self._there = f"fb-{mark}", f"fb{mark}a", f"fb{mark}b"
        self.address, self._net = f"10.231.{mark % 250}.2", f"10.231.{mark % 250}.1/30"

    @property
    def within(self) -> list[str]:
        """The command that runs another one there."""
        return ["ip", "netns", "exec", self.name]

    def make(self) -> None:
        """Raises `CalledProcessError` where that is not allowed."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", self.name)
        _ip("addr", "add", self._net, "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", self.name, "addr", "add", f"{self.address}/30", "dev", self._there)
        _ip("-n", self.name, "link", "set", "lo", "up")
        self.join()

    def cut(self) -> None:
        """What is sent from now on gets lost, and nobody is told."""
        _ip("-n", self.name, "link", "set", self._there, "down")

    def join(self) -> None:
        """The wire is whole again."""
        _ip("-n", self.name, "link", "set", self._there, "up")

    def remove(self) -> None:
        """Take it down, as far as it was made."""
        for command in (["link", "del", self._here], ["netns", "del", self.name]):
            with suppress(subprocess.CalledProcessError):
                _ip(*command)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def namespace(report: Report, fault: str) -> Iterator[Namespace]:
    """A namespace; where none may be made the report says why."""
    made = Namespace()
    try:
        try:
            made.make()
        except (OSError, subprocess.CalledProcessError) as error:
            unmade(report, fault, f"a network namespace can't be made: {getattr(error, 'stderr', None) or error}")
        yield made
    finally:
        made.remove()


class Proxy:
    """Passes bytes on, in a thread of its own, each after `latency_s`; while it is cut they wait."""

    def __init__(self, port: int) -> None:
        [self.port] = free_ports(1)
        self.latency_s = 0.0
        self._target = port
        self._ends: set[asyncio.StreamWriter] = set()
        self._listening = serving(self._serve, self.port)
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listening.__aenter__(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        ending = self._listening.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ending, self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def way_to(self, url: str) -> str:
        """The URL by which a client of its target comes through it."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{self.port}"))

    def cut(self) -> None:
        """Nothing gets through from now on, and no connection is told."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def join(self) -> None:
        """What has waited goes on, and what comes follows it."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def drop(self) -> None:
        """Every connection breaks, at both ends; others can be made at once."""
        for end in list(self._ends):
            self._loop.call_soon_threadsafe(end.transport.abort)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            await self._flows.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._ends.discard(writer)
            writer.close()
            return
        self._ends.add(back)
        try:
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except asyncio.CancelledError:
            # Closed, one that is not read from would wait for its bytes to leave.
            back.transport.abort()
            raise
        finally:
            self._ends -= {back, writer}
            back.close()
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as passing:
            passing.create_task(self._deliver(waiting, writer))
            with suppress(OSError):
                while data := await reader.read(_CHUNK):
                    waiting.put_nowait((self._loop.time() + self.latency_s, data))
            waiting.put_nowait((self._loop.time() + self.latency_s, b""))

    async def _deliver(self, waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - self._loop.time())
            await self._flows.wait()
            if not data:
                break
            with suppress(OSError):
                writer.write(data)
                await writer.drain()
        writer.close()
