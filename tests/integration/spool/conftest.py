"""What the tests of the commands over a spool start from."""

from pathlib import Path

import pytest

from tests.spool.host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.chdir(tmp_path)
    return Host(tmp_path, monkeypatch)
