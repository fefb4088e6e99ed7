"""Doing once more what was undone for another's sake."""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from forebay.queues.errors import QueueUnavailable

T = TypeVar("T")

#: How often one transaction is tried: two that undid each other so often are stopped by something else.
_TRIES = 3


class Undone(QueueUnavailable):
    """The transaction was undone for the sake of another's. The same may be tried again at once."""


def again(transaction: Callable[[], T]) -> T:
    """Do this, and once more for as long as it is `Undone`, a few times."""
    for _ in range(_TRIES - 1):
        with suppress(Undone):
            return transaction()
    return transaction()
