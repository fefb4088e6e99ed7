"""Two queues of any system, empty and of fresh names."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of an empty queue of a system; another one each time for files."""
    made = iter(range(1000))

    def url(system: str) -> str:
        if system == "sqlite":
            return f"sqlite:///{tmp_path}/{next(made)}.db"
        if system == "kafka":
            return f"kafka://{request.getfixturevalue('kafka').bootstrap}"
        found: str = request.getfixturevalue(f"{system}_url")
        return found

    return url
