"""What the tests of the commands over a spool start from."""

from pathlib import Path

import pytest

from tests.spool.host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.chdir(tmp_path)
    # It is for a whole process, and other tests look at the log of this one.
    monkeypatch.setattr("forebay.console.logs.set_up_logs", lambda: None)
    return Host(tmp_path, monkeypatch)
