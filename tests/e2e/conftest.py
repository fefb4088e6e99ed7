"""What the end-to-end tests start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.site import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of the test's own."""
    with open_site(tmp_path) as site:
        yield site
