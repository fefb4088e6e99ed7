"""Moves from one SQLite file to another without watching first, and says how many are there: a test kills it."""

import asyncio
import signal
import sys

from forebay.console.moving.move import Move
from forebay.console.moving.sides import Side
from forebay.console.reading import inspected, opened
from forebay.console.settings import Settings
from forebay.console.stopping import Stop


async def no_sleep(seconds: float) -> None:
    """The watch without its pauses."""


async def main(source: str, target: str, most: str = "") -> None:
    """Move, and print a line for each record that was acknowledged. After so many it waits to be killed."""
    left = int(most or 1_000_000)

    def sent(count: int) -> None:
        nonlocal left
        print("sent", flush=True)
        left -= 1
        if not left:
            signal.pause()

    old, new = (Settings(queue_url=url, partitions=4) for url in (source, target))
    async with opened(old) as first, inspected(first) as one, opened(new) as second, inspected(second) as other:
        sides = (
            Side(name=settings.queue_url, settings=settings, queue=queue, inspector=inspector)
            for settings, queue, inspector in ((old, first, one), (new, second, other))
        )
        move = Move(source=next(sides), target=next(sides), sleep=no_sleep)
        await move.carry_out(await move.plan(), Stop(), sent)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
