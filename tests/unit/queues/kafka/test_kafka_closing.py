"""How long a client's close is waited for."""

from itertools import count
from threading import Event

import pytest

from forebay.queues.kafka.closing import closes


def test_a_close_that_hangs_is_left_after_three_seconds() -> None:
    seconds = count()
    never = Event()

    closed = closes(never.wait, lambda: False, clock=lambda: float(next(seconds)))

    assert (closed, next(seconds)) == (False, 4)
    never.set()


def test_a_close_that_waits_for_us_may_take_as_long_as_we_do() -> None:
    seconds, ours = count(), Event()

    def is_waiting() -> bool:
        if next(seconds) > 20:
            ours.set()
        return True

    assert closes(ours.wait, is_waiting, clock=lambda: float(next(seconds)))
    assert next(seconds) > 20


def test_what_a_close_raises_is_raised_where_it_was_called() -> None:
    def closed_loop() -> None:
        raise RuntimeError("Event loop is closed")

    with pytest.raises(RuntimeError, match="loop is closed"):
        closes(closed_loop, lambda: False)
