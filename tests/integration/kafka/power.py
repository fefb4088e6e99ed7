"""A cluster of one broker that loses the end of a partition, as by a power cut."""

import asyncio
import shutil
import signal

from tests.kafka.cluster import Cluster


class Power:
    """Of the topic's first partition, with what the broker had written to its disk when that was kept."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.cluster, self._node = cluster, cluster.nodes[0]
        self._partition, self._kept = self._node.folder / "log" / f"{topic}-0", cluster.folder / "kept"

    async def keep(self) -> None:
        """Restart it."""
        self._node.stop(signal.SIGKILL)
        self.copy()
        await self._start()

    def copy(self) -> None:
        """Keep what it has written, while nothing comes."""
        shutil.copytree(self._partition, self._kept)

    async def lose(self) -> None:
        """Restart it after a power cut: what was acknowledged since is gone."""
        self._node.stop(signal.SIGKILL)
        shutil.rmtree(self._partition)
        shutil.copytree(self._kept, self._partition)
        await self._start()

    async def restart(self) -> None:
        """Nothing is lost: only its leader is another."""
        self._node.stop(signal.SIGKILL)
        await self._start()

    async def _start(self) -> None:
        self._node.start()
        await asyncio.to_thread(self.cluster.wait_ready)
