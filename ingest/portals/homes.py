"""Under which key events of portals stand that call under another name: known at a start, too, without their store."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from forebay.ingest.telling import Teller
from forebay.queues.folders import write_whole
from forebay.queues.portals.following import Following

#: In data_dir, what the workers of a host have read last: member_id → key.
FILE = "renamed-portals.json"

#: Between two looks whether another has come. A portal is renamed a few times in its life.
_LOOK_EVERY_S = 1.0


class Homes:
    """What the store of portals said last, until it can be read. Used on one event loop.

    Without it a portal that was renamed would have two keys: the one that it has had, and, of calls that come before
    the store is read or while a start finds it away, its new name. Events of two keys have no order.
    """

    def __init__(self, folder: Path | None, following: Following) -> None:
        self._path, self._following = folder and folder / FILE, following
        self._kept: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        #: A disk that is full is so for a while.
        self._teller = Teller()

    def of(self, member_id: str) -> str | None:
        """The portal's key, where the store was not read yet; None where nothing, or nothing else, is known."""
        return None if self._following.was_read else self._kept.get(member_id)

    def open(self) -> None:
        """Read the file, and keep it up to date from now on."""
        self._kept = self._read()
        self._task = asyncio.create_task(self._keep())

    def _read(self) -> dict[str, str]:
        try:
            return unpacked(self._path.read_bytes()) if self._path else {}
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            self._teller.warn("the keys of renamed portals can't be read from data_dir", error=str(error))
            return {}

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.note()

    async def note(self) -> None:
        """Write down what the store says, where that is something else. The file is whole at every moment."""
        renamed = self._following.book.renamed
        if self._path is None or not self._following.was_read or renamed == self._kept:
            return
        noted = renamed.copy()
        try:
            await asyncio.to_thread(write_whole, self._path, packed(noted))
        # Python says so of a thread that can't be started.
        except (OSError, RuntimeError) as error:
            self._teller.warn("the keys of renamed portals can't be kept in data_dir", error=str(error))
        else:
            self._kept = noted

    async def close(self) -> None:
        """Write down what has come since. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.note()


def packed(keys: Mapping[str, str]) -> bytes:
    """The file of these: member_id → key."""
    return orjson.dumps(keys)


def unpacked(said: bytes) -> dict[str, str]:
    """What stands in the file, as far as it is that. Raises `JSONDecodeError`."""
    found = orjson.loads(said)
    pairs = found.items() if isinstance(found, dict) else ()
    return {member_id: portal for member_id, portal in pairs if isinstance(portal, str)}
