"""The end of a client, in a thread of its own: librdkafka waits for its threads, and has been seen to stay for ever."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from confluent_kafka import Producer

from ..threads.daemons import begun

#: A goodbye takes far less, also to a broker that hangs. One that takes longer is not to keep the process.
_CLOSE_S = 3.0

#: The same for a client that is in no group, and has nobody to say goodbye to.
_END_S = 1.0

#: Between two looks at whether the client waits for us.
_LOOK_S = 0.1

_NAME = "forebay-closing"


def closes(
    close: Callable[[], object], is_waiting: Callable[[], bool], clock: Callable[[], float] = time.monotonic
) -> bool:
    """Whether the client's `close` comes back. If not, it is left in a thread of its own, and its process can end.

    It calls back for what is given back. As long as it waits for us in there (`is_waiting`) it may take its time.
    """
    closed = begun(close, _NAME)
    until = clock() + _CLOSE_S
    while clock() < until:
        try:
            closed.result(_LOOK_S)
        except TimeoutError:
            until = clock() + _CLOSE_S if is_waiting() else until
        else:
            return True
    return False


def end(close: Callable[[], object]) -> None:
    """Close a client that is in no group, or leave it to close by itself; called in a thread that may wait for it."""
    with suppress(TimeoutError):
        begun(close, _NAME).result(_END_S)


async def in_time(*closing: Future[object]) -> None:
    """Wait for what closes, as long as it may take; then it is left to close by itself."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await asyncio.gather(*map(asyncio.wrap_future, closing))


def let_end(close: Callable[[], object]) -> Future[object]:
    """Close the client, and let nobody wait but who wants to."""
    return begun(close, _NAME)


def let_go(of: list[Producer]) -> None:
    """Drop what is in the list, which is the last to hold a client: with it go its threads and its connections.

    They may take as long as the resolver of names lets one of them wait.
    """
    begun(of.clear, _NAME)
