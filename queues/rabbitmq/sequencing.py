"""The sequencers of one process, over one connection, which is made anew as long as it must."""

import asyncio
import time
from collections.abc import Callable

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.logger import get_logger

from .address import Address
from .connection import Connection
from .faults import NotThere
from .reaching import reach
from .sequencer import Sequencer

#: Seconds for which the intake keeps what its stream has confirmed. A Linux writes a file's changes when they are 30 s
#: old, and looks for such every 5 s (vm.dirty_expire_centisecs, vm.dirty_writeback_centisecs).
HOLD_S = 60.0

#: Seconds between two looks at what has been held for long enough, and between two tries to reach a node that is away.
_LOOK_EVERY_S, _AGAIN_S = 1.0, 0.25

log = get_logger(__name__)


class Sequencing:
    """Sequencers of the partitions that were asked for."""

    def __init__(self, address: Address, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = address, clock
        self._sequencers: dict[str, Sequencer] = {}
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._is_closed = self._is_broken = False
        self._told = set[str]()

    def attach(self, stream: str) -> None:
        """Have a sequencer for this partition's stream."""
        if stream in self._sequencers or self._is_closed:
            return
        self._sequencers[stream] = Sequencer(stream, HOLD_S, self._broken, self._clock)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._live())

    def detach(self, stream: str) -> None:
        """It was deleted. Who forwards into it when it was made anew is to look first what it lacks."""
        if one := self._sequencers.pop(stream, None):
            one.close()

    def _broken(self, error: BaseException | None = None) -> None:
        is_told = error is None or isinstance(error, NotThere)
        if not is_told and self._connection is not None and self._connection.is_open:
            # Of a connection that is lost it is told whether there is another, and of what is not there to who writes.
            self._tell(str(error))
        self._is_broken = True
        self._wake.set()

    async def _live(self) -> None:
        while True:
            self._wake.clear()
            if self._is_broken:
                # Not at once: each time the intake gives all that it holds once more.
                self._is_broken = False
                await asyncio.sleep(_AGAIN_S)
            if not await self._open():
                self._is_broken = True
                continue
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._wake.wait()
            except TimeoutError:
                # All have stood in line for so long: what comes next is something new.
                self._told.clear()

    async def _open(self) -> bool:
        """Whether all stand in line."""
        for one in self._sequencers.values():
            # First: what keeps one from standing in line must not have the intakes of the others run full.
            one.tick()
        try:
            wanted = [one for one in self._sequencers.values() if not one.is_open]
            if wanted:
                connection = await self._connected()
                opened = await asyncio.gather(*(self._stand(one, connection) for one in wanted), return_exceptions=True)
                for error in filter(None, opened):
                    raise error
        except Exception as error:
            if not isinstance(error, QueueError):
                # A mistake of ours must not end the forwarding without a word.
                log.exception("sequencers_failed", queue=self._address.name)
            self._tell(str(error))
            return False
        return True

    def _tell(self, error: str) -> None:
        """Once, and not at each try for as long as it lasts."""
        if error not in self._told:
            self._told.add(error)
            log.warning("intake_unreachable", queue=self._address.name, error=error)

    async def _stand(self, one: Sequencer, connection: Connection) -> None:
        try:
            await one.open(connection)
        except NotThere:
            # Whoever writes to it is told so; and when it is there again, it is asked for again.
            self.detach(one.stream)
        if self._sequencers.get(one.stream) is not one:
            one.close()

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            self._connection = await reach(self._address, "sequencer", lost=self._lost)
        return self._connection

    def _lost(self, error: QueueUnavailable) -> None:
        for one in self._sequencers.values():
            one.close()
        self._broken()

    async def close(self) -> None:
        """Forward nothing any more. Idempotent."""
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for one in self._sequencers.values():
            one.close()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
