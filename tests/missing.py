"""What a test needs and this machine lacks: a reason to skip at a desk, a failure where nothing may be skipped."""

import os
from typing import NoReturn

import pytest

#: Set where every test has to run.
STRICT = "FOREBAY_TEST_STRICT"


def missing(reason: str) -> NoReturn:
    """Skip the test for that reason, or fail it."""
    if os.environ.get(STRICT):
        pytest.fail(f"{reason} ({STRICT} is set: nothing may be skipped)")
    pytest.skip(reason)
