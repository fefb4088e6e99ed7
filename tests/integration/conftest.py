"""What tests with real systems start from."""

import asyncio
from collections.abc import Callable

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """They run on the loop that the commands have: it is another one than asyncio's in more than its speed."""
    return {"uvloop": uvloop.new_event_loop}
