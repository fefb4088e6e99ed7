"""Callers who connect, say nothing, and come again when that is over: in a process of their own.

In that of the load, the answers that it waits for would be read late, and count as slow.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Between the end of a stranger's connection and the next.
_AGAIN_S = 0.05


async def come_again(port: int) -> None:
    """One of them."""
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await reader.read(1)
            finally:
                writer.close()
        await asyncio.sleep(_AGAIN_S)


async def _come(port: int, many: int) -> None:
    await asyncio.gather(*(come_again(port) for _ in range(many)))


@contextmanager
def strangers(port: int, many: int, within: tuple[str, ...]) -> Iterator[None]:
    """So many of them, all the time, behind that command."""
    running = subprocess.Popen([*within, sys.executable, __file__, str(port), str(many)])
    try:
        yield
    finally:
        running.kill()
        running.wait()


if __name__ == "__main__":
    asyncio.run(_come(*map(int, sys.argv[1:])))
