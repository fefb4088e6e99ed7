"""What a handler's process sends back: its errors come through however they are made."""

import threading

import pytest

from forebay.processors.cpu.answers import packed, unpacked
from forebay.processors.error_texts import error_text
from forebay.processors.errors import RaisedElsewhere, Reject, Retry


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


class NotOurs(Reject):
    """Takes other arguments than it keeps."""

    def __init__(self, portal: str, deal: int) -> None:
        super().__init__(f"deal {deal} of {portal} is not ours", done=3)
        self.portal = portal


class Limited(Retry):
    """The same with a single one, which its text would do for."""

    def __init__(self, portal: str) -> None:
        super().__init__(f"{portal} wants less", after_s=7200, done=1)


@pytest.mark.parametrize("error", [NotOurs("a.bitrix24.com", 7), Limited("a.bitrix24.com")])
def test_an_error_that_takes_other_arguments_than_it_keeps_comes_as_it_was(error: Exception) -> None:
    _, raised = unpacked(packed(None, error))

    assert type(raised) is type(error)
    assert str(raised) == str(error)
    assert vars(raised) == vars(error)


def test_what_can_not_be_carried_asks_for_the_same() -> None:
    rejected, limited = NotOurs("a.bitrix24.com", 7), Limited("a.bitrix24.com")
    for error in (rejected, limited):
        error.lock = threading.Lock()  # type: ignore[union-attr]

    _, first = unpacked(packed(None, rejected))
    _, second = unpacked(packed(None, limited))

    assert isinstance(first, Reject) and first.done == 3
    assert str(first) == f"{NotOurs.__module__}.NotOurs: deal 7 of a.bitrix24.com is not ours"
    assert isinstance(second, Retry) and (second.after_s, second.done) == (7200, 1)


@pytest.mark.parametrize("error", [Speechless(), Silent()])
def test_an_error_that_can_neither_be_carried_nor_shown_is_named(error: Exception) -> None:
    returned, raised = unpacked(packed(None, error))

    assert returned is None
    assert isinstance(raised, RaisedElsewhere)
    assert type(error).__name__ in error_text(raised)
