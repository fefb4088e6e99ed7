"""What an ingest goes through, drawn by chance, and how much of what it was sent may stand twice afterwards."""

import asyncio
import errno
import json
import os
import re
import signal
from contextlib import suppress

from tests.e2e.sending import TOKEN
from tests.e2e.site import Site

from .chance import Chance
from .failing import End, Failing
from .hosts import kill_all
from .stand import LONG, UNDECIDED, Stand
from .under import Under

#: Takes whatever the load sends.
ANY_PORTAL = {"auth": "tokens", "tokens": json.dumps({"*": TOKEN})}

#: How producers of Memcached say that they write a batch once more.
_AGAIN = re.compile(r'"records": (\d+),[^{}]*"event": "(?:batch_written_late|write_undecided)"')

#: A worker dies in one of its next so many calls of a kind.
_CALLS = 32

_DISK = (
    {"write": errno.ENOSPC},
    {"write": errno.EIO},
    {"sync": errno.ENOSPC},
    {"sync": errno.EIO},
    {"read": errno.EIO},
)


class IngestFaults:
    """Breaks the processes of an ingest, and their disk: each in turns of its own."""

    def __init__(self, chance: Chance, stand: Stand, failing: Failing) -> None:
        self._chance, self._stand, self._failing = chance, stand, failing
        #: One hand's: ends of processes.
        self.ends = (
            self.kill_worker,
            self.die_in_commit,
            self.restart,
            self.kill_all,
            self.kill_master,
            self.reload,
            self.hang_up_all,
        )

    async def kill_worker(self) -> None:
        """A process of the ingest dies, whichever it is."""
        if serving := self._stand.site.workers():
            os.kill(self._chance.rng.choice(serving), signal.SIGKILL)

    async def die_in_commit(self) -> None:
        """One is to die as it writes to the spool, when somebody next does."""
        rng = self._chance.rng
        self._failing.end(rng.choice(list(End)), rng.randint(1, _CALLS))

    async def restart(self) -> None:
        """SIGTERM to the ingest, and another in its place."""
        await asyncio.to_thread(self._stand.site.stop, "ingest")
        await self._start()

    async def kill_all(self) -> None:
        """Its processes die all at once, and another ingest is started."""
        await asyncio.to_thread(kill_all, self._stand.site)
        await self._start()

    async def kill_master(self) -> None:
        """The master dies: its workers finish what they have, and another ingest is started."""
        await asyncio.to_thread(kill_all, self._stand.site, workers=False)
        await self._start()

    async def reload(self) -> None:
        """SIGHUP: other processes take the places of those that serve, and these finish what they have."""
        await self._hang_up()

    async def hang_up_all(self) -> None:
        """The same, heard by every process."""
        await self._hang_up(*self._stand.site.workers())

    async def _hang_up(self, *hearing: int) -> None:
        site = self._stand.site
        old = {*site.workers()}
        for pid in hearing:
            # One may have died just now.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)
        site.running["ingest"].send_signal(signal.SIGHUP)
        await asyncio.to_thread(site.wait, "new workers", lambda: not old & {*site.workers()})

    async def _start(self) -> None:
        site = self._stand.site
        site.start("ingest", "ingest", "--processes", str(self._stand.processes))
        await asyncio.to_thread(site.wait, "the ingest", site.is_ready)

    async def fail_disk(self) -> None:
        """Writes, syncs or reads of the spool fail."""
        self._failing.fail(**self._chance.rng.choice(_DISK))
        await self._chance.lasting()
        self._failing.fail()

    def doubled(self, under: Under) -> int:
        """So many events may stand twice after what was done."""
        deaths = sum(self._chance.done[end.__name__] for end in self.ends)
        under_way = self._chance.done.total() * LONG.connections
        return deaths * UNDECIDED + under_way + _written_again(under, self._stand.site)


def _written_again(under: Under, site: Site) -> int:
    """What may stand twice because producers of Memcached were late or had no answer, by their own words."""
    said = _AGAIN.findall(site.earlier["ingest"] + site.log("ingest")) if under.system == "memcached" else []
    return sum(map(int, said))
