"""Reading a part of a stream's partition, from outside of any group."""

from collections.abc import AsyncIterator

from .contract import Inspector, StoredRecord

#: Records read at once: some hundred kilobytes.
BATCH_RECORDS = 500


async def between(
    inspector: Inspector, stream: str, partition: int, start: int, end: int
) -> AsyncIterator[StoredRecord]:
    """The partition's records from one offset to before the other, in order."""
    while start < end:
        records = await inspector.read(stream, partition, start, BATCH_RECORDS)
        if not records:
            return
        for record in records:
            if record.offset < end:
                yield record
        start = records[-1].offset + 1
