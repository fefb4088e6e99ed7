"""What a handler's process sends back: its errors come through however they are made."""

import threading

import pytest

from forebay.processors.cpu.answers import packed, unpacked
from forebay.processors.error_texts import error_text
from forebay.processors.errors import RaisedElsewhere


class Speechless(Exception):
    """Can't be carried, for what it holds, nor say what it is."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise ValueError("a bug of its own")


class Silent(Speechless):
    """The same, for good."""

    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("error", [Speechless(), Silent()])
def test_an_error_that_can_neither_be_carried_nor_shown_is_named(error: Exception) -> None:
    returned, raised = unpacked(packed(None, error))

    assert returned is None
    assert isinstance(raised, RaisedElsewhere)
    assert type(error).__name__ in error_text(raised)
