"""The spool as the event loop sees it: what is put in at the same time shares one fsync, in a thread."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from forebay.queues.contract import Record

from .counts import FULL, OK, Counts
from .errors import SpoolUnavailable
from .folder import Folder
from .kept import Head, Put
from .patience import PATIENCE_S
from .store import Store

T = TypeVar("T")

#: Called on the loop with the record's number in the spool, or with the reason why it is not there.
Done = Callable[["int | SpoolUnavailable"], None]

#: What one transaction takes at most: others wait for it, and for its fsync.
_BATCH_RECORDS = 1024
_BATCH_BYTES = 8 << 20

#: Between two attempts to tell what became of a record.
_AGAIN_S = 0.5


class Spool:
    """The spool of this host, opened by this process. Used on one event loop."""

    def __init__(self, data_dir: Path, max_bytes: int, *, patience_s: float = PATIENCE_S) -> None:
        self.folder = Folder(data_dir)
        self.store = Store(self.folder, max_bytes, patience_s=patience_s)
        #: Is told how long each write took, with its fsync.
        self.fsynced: Callable[[float], None] = lambda seconds: None
        self.max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, "forebay-spool")
        self._waiting: deque[tuple[Put, Done]] = deque()
        self._is_writing = self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._untold: deque[tuple[int, bool]] = deque()

    async def open(self) -> None:
        """Raises `SpoolUnavailable` where nothing can be kept on this disk."""
        await self.run(self.store.open)

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not closed yet."""
        return hasattr(self.store, "counts") and not self._is_closed

    @property
    def counts(self) -> Counts:
        """What all processes see. There is none before `open`."""
        return self.store.counts

    def seen(self) -> Counts | None:
        """What other processes have in the spool, for one that could not open it; None where that can't be known."""
        with suppress(OSError, ValueError):
            return Counts(self.folder.counts, only_read=True)
        return None

    @property
    def why_not(self) -> str:
        """Why an event would not be taken just now; empty when it would be."""
        if self.counts.state == OK:
            return ""
        return f"full: {self.max_bytes} bytes, or the disk" if self.counts.state == FULL else "broken: look at the disk"

    @property
    def is_half_full(self) -> bool:
        """Whether half of the room is taken."""
        return self.counts.size > self.max_bytes // 2

    def put(self, stream: str, record: Record, done: Done, *, undecided: bool = False) -> None:
        """Keep the record. Undecided is what may still be delivered: `settle` tells what became of it."""
        owner = self.store.owner.name if undecided else None
        self._waiting.append((Put(stream=stream, record=record, owner=owner), done))
        if not self._is_writing:
            self._is_writing = True
            self._idle.clear()
            # In the loop's next turn, for all that is put in this one.
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        batch = self._take_batch()
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        try:
            writing = self._thread.submit(self.store.put, [put for put, _ in batch])
        except RuntimeError as error:
            # Closed by now; a call that comes so late is told, and noted, that its event is kept nowhere.
            writing = Future()
            writing.set_exception(error)
        writing.add_done_callback(lambda done: loop.call_soon_threadsafe(self._written, batch, began, done))

    def _take_batch(self) -> list[tuple[Put, Done]]:
        batch: list[tuple[Put, Done]] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_RECORDS and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1][0].size
        return batch

    def _written(
        self, batch: Sequence[tuple[Put, Done]], began: float, writing: "Future[list[int | SpoolUnavailable]]"
    ) -> None:
        self.fsynced(time.perf_counter() - began)
        error = writing.exception()
        # Whatever went wrong, each of them waits for an answer.
        outcomes = [SpoolUnavailable(repr(error)) for _ in batch] if error else writing.result()
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            done(outcome)
        if self._waiting:
            self._write()
        else:
            self._is_writing = False
            self._idle.set()

    def settle(self, seq: int, *, is_gone: bool) -> None:
        """An undecided record was delivered (it is gone), or surely was not (it is sent from here)."""
        self._untold.append((seq, is_gone))
        if len(self._untold) == 1:
            self._tell()

    def _tell(self) -> None:
        try:
            while self._untold:
                seq, is_gone = self._untold[0]
                self.store.owner.tell(seq, is_gone=is_gone)
                self._untold.popleft()
        except OSError:
            # Until it is told, the portal's records wait; if we die before, this one is sent again.
            asyncio.get_running_loop().call_later(_AGAIN_S, self._tell)

    async def run(self, call: Callable[..., T], *values: object) -> T:
        """Have the thread do this, between two writes."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *values))

    async def delete(self, heads: Sequence[Head]) -> None:
        """As in `Store`."""
        await self.run(self.store.delete, heads)

    async def close(self) -> None:
        """Keep what was put so far, then let go. Idempotent."""
        await self._idle.wait()
        if self.is_open:
            self._is_closed = True
            await self.run(self.store.close)
        self._thread.shutdown(wait=False)
