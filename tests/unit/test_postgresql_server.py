"""A PostgreSQL that is missing is a reason to skip at a desk, and a failure where nothing may be skipped."""

from contextlib import ExitStack

import pytest

from tests.missing import STRICT
from tests.postgresql import fixtures
from tests.postgresql.server import NoPostgresql


class Missing:
    def __init__(self) -> None:
        raise NoPostgresql("there is no PostgreSQL server on this machine; install Debian's package postgresql")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures, "Server", Missing)
    monkeypatch.setattr(fixtures, "docker_answers", lambda: False)
    monkeypatch.delenv(fixtures.NAMED, raising=False)


def test_without_a_server_the_tests_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STRICT, raising=False)

    with pytest.raises(pytest.skip.Exception, match="install Debian's package"):
        fixtures.named_or_started(ExitStack())


def test_without_a_server_they_fail_where_nothing_may_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STRICT, "1")

    with pytest.raises(pytest.fail.Exception, match="nothing may be skipped"):
        fixtures.named_or_started(ExitStack())
