"""Waiting for what others bring about."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)
