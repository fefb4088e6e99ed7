"""The line at the bottom of `forebay up`, beside a real worker."""

import asyncio
from typing import Any

from forebay.console.processes.status import Counting, Counts
from forebay.console.reading import inspected

from .site import Program, Site

A, WELL = "a.bitrix24.example", "well.bitrix24.example"


async def counted(counting: Counting, wanted: Counts) -> None:
    """Return once it is so."""
    async with asyncio.timeout(30):
        while await counting.look() != wanted:
            await asyncio.sleep(0.02)


async def test_what_is_parked_waits_and_is_not_handled(site: Site) -> None:
    program, parks = Program(errors={A: ConnectionError("the shop is down")}), dict[str, Any](memory_tries=1, tries=30)
    async with inspected(site.queue) as inspector:
        counting = Counting(inspector, site.settings.topic, ["forebay"])
        await site.send(A, 1, 2, 3)
        await site.send(WELL, 1, 2)
        site.start(program, park_first_s=3600.0, park_longest_s=3600.0, **parks)

        await counted(counting, Counts(received=5, handled=2, parked=3))

        await site.send(A, 4)
        await counted(counting, Counts(received=6, handled=2, parked=4))
        assert (await counting.look()).waiting == 4
