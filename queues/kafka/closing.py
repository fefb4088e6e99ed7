"""The end of a client, in a thread of its own: librdkafka waits for its threads, and has been seen to stay for ever."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

from confluent_kafka import Producer

#: A goodbye takes far less, also to a broker that hangs. One that takes longer is not to keep the process.
_CLOSE_S = 3.0

#: Between two looks at whether the client waits for us.
_LOOK_S = 0.1


def closes(
    close: Callable[[], object], is_waiting: Callable[[], bool], clock: Callable[[], float] = time.monotonic
) -> bool:
    """Whether the client's `close` comes back. If not, it is left in a thread of its own, and its process can end.

    It calls back for what is given back. As long as it waits for us in there (`is_waiting`) it may take its time.
    """
    closed: Future[None] = Future()
    Thread(target=_close, args=(close, closed), name="forebay-closing", daemon=True).start()
    until = clock() + _CLOSE_S
    while clock() < until:
        try:
            closed.result(_LOOK_S)
        except TimeoutError:
            until = clock() + _CLOSE_S if is_waiting() else until
        else:
            return True
    return False


def _close(close: Callable[[], object], closed: "Future[None]") -> None:
    try:
        close()
    except BaseException as error:  # whatever it is, it belongs to the thread that waits
        closed.set_exception(error)
    else:
        closed.set_result(None)


def let_go(of: list[Producer]) -> None:
    """Drop what is in the list, which is the last to hold a client: with it go its threads and its connections.

    They may take as long as the resolver of names lets one of them wait.
    """
    Thread(target=of.clear, name="forebay-closing", daemon=True).start()
