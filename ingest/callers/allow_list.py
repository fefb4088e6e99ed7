"""The networks that may call: of the settings, of a file, and of a published list that is fetched again and again."""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from forebay.queues.threads.daemons import Threads
from forebay.schemas.logger import get_logger

from .networks import Address, Networks
from .published import BadAllowList, Kept, Shelf, fetched, networks_in, networks_of_file

log = get_logger(__name__)

#: Between two looks at the file and at the clock; and after a list that could not be fetched.
_LOOK_S = 30.0

#: After so many periods without a new list something is wrong.
_STALE_PERIODS = 3

_HOUR_S = 3600


class AllowList:
    """Used on one event loop. Keeps the last good list, also over a restart.

    While the list of the address was never read, nobody knows who may call; `is_known` is False then.
    """

    def __init__(
        self,
        *,
        fixed: Networks,
        file: Path | None = None,
        url: str | None = None,
        shelf: Shelf | None = None,
        refresh_s: float = _HOUR_S,
        fetch: Callable[[str], str] = fetched,
        clock: Callable[[], float] = time.time,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._fixed, self._file, self._url, self._shelf = fixed, file, url, shelf
        self._refresh_s, self._fetch, self._clock, self._draw = refresh_s, fetch, clock, draw
        self._of_file, self._of_url = Networks(()), Networks(())
        self._read_at = 0.0
        self._file_fault = self._url_fault = ""
        self._task: asyncio.Task[None] | None = None
        self._fetching = Threads(1, "forebay-allow-list")

    def __contains__(self, address: Address | None) -> bool:
        return address in self._fixed or address in self._of_file or address in self._of_url

    @property
    def is_known(self) -> bool:
        """Whether all that may call are known: a list that is not there yet may name whoever calls."""
        return not self._url or self._read_at > 0

    @property
    def age_s(self) -> float:
        """How old the list of the address is; 0 where there is none."""
        return max(0.0, self._clock() - self._read_at) if self._read_at else 0.0

    @property
    def state(self) -> str:
        """`ok`, or what is wrong; for /ready."""
        if not self.is_known:
            why = self._url_fault or "not fetched yet"
            return f"no list was ever read, so any address may call that has another proof, and no other: {why}"
        if self.age_s > self._refresh_s * _STALE_PERIODS:
            return f"the list is stale: it was read {self.age_s / _HOUR_S:.1f} h ago; {self._url_fault}"
        return self._file_fault or "ok"

    def open(self) -> None:
        """Take what is there at once, and see to it from now on."""
        self._read_file()
        self._take_kept()
        if self._file or self._url:
            self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # whatever it is: nobody would ever look again
                log.error("the allow list can't be looked at just now; what is known counts", error=repr(error))
            # Not all workers at the same moment: who comes later finds the list of whoever came first.
            await asyncio.sleep(self._draw(_LOOK_S / 2, _LOOK_S))

    async def look(self) -> None:
        """Read the file again, and the list of the address when it is time."""
        self._read_file()
        self._take_kept()
        if self._url and self._clock() - self._read_at >= self._refresh_s:
            await self._fetch_again(self._url)

    def _read_file(self) -> None:
        if self._file is None:
            return
        try:
            self._of_file, self._file_fault = networks_of_file(self._file), ""
        except BadAllowList as error:
            if not self._file_fault:
                log.error("the file of the allow list can't be used; what it said before counts", error=str(error))
            self._file_fault = f"what the file said before counts: {error}"

    def _take_kept(self) -> None:
        kept = self._shelf.take() if self._shelf else None
        if kept and kept.at > self._read_at:
            self._use(kept)

    def _use(self, kept: Kept) -> None:
        # A clock that was wrong when it was kept must not keep us from asking again.
        self._of_url, self._read_at, self._url_fault = kept.networks, min(kept.at, self._clock()), ""

    async def _fetch_again(self, url: str) -> None:
        try:
            networks = networks_in(await self._fetched(url), "the list that was fetched")
        except BadAllowList as error:
            if str(error) != self._url_fault:
                log.error("the allow list can't be read; the last good one counts", error=str(error), url=url)
            self._url_fault = str(error)
            return
        self._use(Kept(networks=networks, at=self._clock()))
        log.info("the allow list was read", networks=len(networks))
        try:
            if self._shelf:
                await asyncio.to_thread(self._shelf.put, networks)
        except OSError as error:
            log.error("the allow list can't be kept for the next start", error=str(error))

    async def _fetched(self, url: str) -> str:
        # A stop does not wait for it, nor for the resolver, which may hang.
        return await asyncio.get_running_loop().run_in_executor(self._fetching, self._fetch, url)

    async def close(self) -> None:
        """Follow it no more. Idempotent."""
        if self._task:
            self._task.cancel()
