"""`forebay spool drain`: everything in a spool goes to the queue, by the same steps as in the ingest."""

import asyncio
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from forebay.ingest.gaps.book import FOLDER
from forebay.ingest.gaps.left import tell_left
from forebay.ingest.spool.breaker import Breaker
from forebay.ingest.spool.drain import Drain
from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import Producer
from forebay.queues.errors import QueueUnavailable
from forebay.queues.folders import leave_to_owner
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.portal import partition_of

from .errors import WrongUsage
from .planning import counted
from .reading import opened
from .spooled import folder_of
from .terminal.output import note
from .terminal.progress import progress

if TYPE_CHECKING:
    from forebay.console.settings import Settings

#: A queue that takes nothing for so long is not there: what is left stays in the spool.
_PATIENCE_S = 30.0

#: What is under way at the end may still be acknowledged for so long.
_FLUSH_S = 5.0


async def drained(settings: "Settings") -> dict[str, object]:
    """How many records were sent, and how many are left: those that neither queue nor quarantine takes.

    Raises `WrongUsage` for a folder that is no host's: whoever reads `left: 0` may delete it.
    """
    if not folder_of(settings).root.is_dir():
        return {"sent": 0, "left": 0}
    # Whoever runs this can do so once more: what can't be read now is left, and counted.
    spool = Spool(settings.data_dir, settings.spool_max_bytes, patience_s=0)
    if not spool.folder.draining.take():
        raise WrongUsage(f"an ingest drains {spool.folder.root} already; look with `forebay spool status`")
    try:
        # Who stops it here has sent nothing, and nothing is counted yet.
        await spool.open()
        return await _emptied(settings, spool)
    finally:
        spool.folder.draining.release()
        await spool.close()
        _leave_to_its_owner(spool.folder.root)


def _leave_to_its_owner(folder: Path) -> None:
    """What root has made there, the ingest may not open; and without one of the files it has no spool."""
    for path in folder.iterdir():
        leave_to_owner(path)


async def _emptied(settings: "Settings", spool: Spool) -> dict[str, object]:
    try:
        async with opened(settings) as queue:
            await queue.ensure(names.streams(settings.topic), settings.partitions)
            return await _drained(settings, spool, queue.producer())
    except asyncio.CancelledError:
        left = spool.counts.records
        note(f"stopped: {counted(left, 'event')} still in the spool; run the same again, and it goes on with these")
        raise


async def _drained(settings: "Settings", spool: Spool, producer: Producer) -> dict[str, object]:
    breaker = Breaker(lambda: spool.counts.acknowledged)
    part_of = partial(partition_of, partitions=settings.partitions)
    drain = Drain(spool, producer, breaker, quarantine=names.quarantine(settings.topic), part_of=part_of)
    try:
        await drain.begin()
        await _all_sent(spool, drain)
        told = await tell_left(settings.data_dir / FOLDER, producer, settings.topic, codec())
        if told:
            note(f"{told:,} portals are told of a gap")
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await producer.close()
        await drain.close()
    return {"sent": drain.sent, "left": spool.counts.records}


async def _all_sent(spool: Spool, drain: Drain) -> None:
    sent, since = 0, monotonic()
    with progress("draining", spool.counts.records, sys.stderr) as told:
        while spool.counts.records > drain.left_alone:
            await drain.step()
            told(drain.sent)
            if drain.sent > sent:
                sent, since = drain.sent, monotonic()
            if monotonic() - since > _PATIENCE_S:
                raise QueueUnavailable(
                    f"{spool.counts.records} events are still in the spool: the queue took none for {_PATIENCE_S:.0f} s"
                )
