"""The writing side: many calls of `send` become one write, and one fsync."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from forebay.queues.contract import Delivery, Producer, Record
from forebay.queues.errors import QueueError, QueueUnavailable

from ..threads.connection_thread import Closable, ConnectionThread, tell
from .records import packed_headers
from .sent import Outcome, Sent, answer, failed, leaves_a_gap

C = TypeVar("C", bound=Closable)
C_contra = TypeVar("C_contra", bound=Closable, contravariant=True)

#: What one write takes at most: others wait for it, and for its fsync.
_BATCH_RECORDS = 1024
_BATCH_BYTES = 8 * 1024 * 1024

#: Seconds after which a queue that doesn't answer a check is called unavailable.
_CHECK_S = 5.0


class Writer(Protocol[C_contra]):
    """What writes a producer's batches into a store, one after the other. It has the thread to itself."""

    #: What a person calls the store.
    name: str

    def touch(self, connection: C_contra) -> None:
        """Write something that is nobody's record, as durably as one."""

    def write(self, batch: Sequence[Sent], given_up: threading.Event) -> Sequence[Outcome]:
        """Write the batch in its order; the outcome of each.

        While nobody knows whether it was written it doesn't return, unless nobody waits any more: `given_up`.
        """

    def announce(self) -> None:
        """Wake those who wait for what was written last. It may get lost, and raises nothing."""


class BatchProducer(Producer, Generic[C]):
    """Hands records to a thread that writes all that waits at once, in the order of the calls."""

    def __init__(self, writer: Writer[C], thread: ConnectionThread[C]) -> None:
        self._writer, self._thread = writer, thread
        self._waiting: deque[Sent] = deque()
        self._closed = False
        self._checking: asyncio.Task[None] | None = None
        #: Set when nobody waits any more to hear what became of a batch.
        self._given_up = threading.Event()
        #: Set unless the thread was told to write and has not answered yet.
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        headers = packed_headers(record)
        if self._closed:
            raise QueueUnavailable(f"this producer of {self._writer.name} was closed")
        self._waiting.append(Sent(stream=stream, record=record, headers=headers, delivery=delivery))
        if self._idle.is_set():
            self._write_soon()

    async def check(self) -> None:
        """As in the contract: something of its own goes to the disk.

        Of those who ask while a store hangs, each waits for the same: the records of afterwards would stand behind all
        that was asked meanwhile.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._thread.run(self._writer.touch))
            # An error that nobody waits for any more would be told as a mistake of ours.
            self._checking.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Another may be under way by the time that this one has been answered.
        checking = self._checking
        try:
            async with asyncio.timeout(_CHECK_S):
                await asyncio.wait([checking])
            checking.result()
        except TimeoutError as error:
            raise QueueUnavailable(
                f"{self._writer.name} took nothing for {_CHECK_S:.0f} s: the disk hangs, or another process that "
                "writes to it is stopped"
            ) from error

    async def close(self) -> None:
        """As in the contract; cancelled, it gives up what the store has not decided yet."""
        self._closed = True
        try:
            while not self._idle.is_set():
                await self._idle.wait()
        except asyncio.CancelledError:
            self._given_up.set()
            raise
        await self._thread.close()

    def _write_soon(self) -> None:
        # In the loop's next turn, for all that is sent in this one. To wake the thread for each record would cost as
        # much as everything else, as loop and thread then fight for the GIL.
        self._idle.clear()
        loop = asyncio.get_running_loop()
        loop.call_soon(self._hand_over, loop)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._thread.post(partial(self._write_waiting, loop))
        except QueueUnavailable as error:
            batch, self._waiting = self._waiting, deque()
            self._written(batch, failed(batch, error))

    def _write_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._take_batch()
        tell(loop, self._written, batch, self._write(batch))
        self._writer.announce()

    def _written(self, batch: Sequence[Sent], outcomes: Sequence[Outcome]) -> None:
        self._idle.set()
        behind = self._behind(batch, outcomes)
        if self._waiting:
            self._write_soon()
        answer(batch, outcomes)
        for sent, error in behind:
            answer([sent], failed([sent], error))

    def _behind(self, batch: Sequence[Sent], outcomes: Sequence[Outcome]) -> list[tuple[Sent, QueueError]]:
        """Take out what waits behind records that were not written: it would come before them when they come again."""
        missing = {sent.stream: outcome for sent, outcome in zip(batch, outcomes, strict=True) if leaves_a_gap(outcome)}
        if not missing:
            return []
        waiting, self._waiting = self._waiting, deque()
        behind = []
        for sent in waiting:
            if error := missing.get(sent.stream):
                behind.append((sent, error))
            else:
                self._waiting.append(sent)
        return behind

    def _take_batch(self) -> list[Sent]:
        batch: list[Sent] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_RECORDS and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1].record.value)
        return batch

    def _write(self, batch: Sequence[Sent]) -> Sequence[Outcome]:
        try:
            return self._writer.write(batch, self._given_up)
        except Exception as error:  # a thread that died would leave its callers waiting for ever
            return failed(batch, error)
