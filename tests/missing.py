"""What a test needs and this machine lacks: a reason to skip at a desk, a failure where nothing may be skipped."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

#: Set where every test has to run.
STRICT = "FOREBAY_TEST_STRICT"


def missing(reason: str) -> NoReturn:
    """Skip the test for that reason, or fail it."""
    if os.environ.get(STRICT):
        pytest.fail(f"{reason} ({STRICT} is set: nothing may be skipped)")
    pytest.skip(reason)


class NotHere(Exception):
    """A server can't be started on this machine; the text says what is missing."""


def entered(running: ExitStack, server: Callable[[], AbstractContextManager[T]]) -> T:
    """The server, until `running` ends; where it can't be started, the test is skipped or fails."""
    try:
        return running.enter_context(server())
    except NotHere as reason:
        missing(str(reason))
