"""How much is held in memory, and from when to when nothing more is fetched."""

import asyncio

import pytest

from forebay.processors.held import Held
from forebay.queues.contract import PlacedRecord

#: What a record counts beside its value.
AROUND = 1400


def records(number: int, size: int = 0) -> list[PlacedRecord]:
    return [
        PlacedRecord(key="a.ru", value=bytes(size), timestamp_ms=0, stream="s", partition=0, offset=offset)
        for offset in range(number)
    ]


async def waits(held: Held) -> bool:
    """Whether who would fetch has to wait."""
    waiting = asyncio.create_task(held.room())
    await asyncio.sleep(0)
    waits = not waiting.done()
    waiting.cancel()
    return waits


@pytest.mark.parametrize("by_bytes", [False, True], ids=["records", "bytes"])
async def test_nothing_is_fetched_from_the_limit_on_until_half_of_it_is_free(*, by_bytes: bool) -> None:
    size = 600
    held = Held(1000, 10 * (size + AROUND)) if by_bytes else Held(10, 1 << 30)
    ten = records(10, size)
    seen = []

    held.add(ten[:9])
    seen.append((held.is_full, await waits(held)))
    held.add(ten[9:])
    seen.append((held.is_full, await waits(held)))
    held.remove_all(ten[:4])
    seen.append((held.is_full, await waits(held)))
    held.remove(ten[4])
    seen.append((held.is_full, await waits(held)))

    assert seen == [(False, False), (True, True), (True, True), (False, False)]
    assert (held.records, held.bytes, held.is_roomy) == (5, 5 * (size + AROUND), True)
    held.add(ten[:1])
    assert not held.is_roomy and not held.is_full
    held.remove_all(ten[:6])
    assert (held.records, held.bytes) == (0, 0)
