"""A database server that is missing is a reason to skip at a desk, and a failure where nothing may be skipped."""

from contextlib import AbstractContextManager, ExitStack, nullcontext

import pytest

from tests.databases import shared
from tests.databases.server import DatabaseServer
from tests.databases.shared import System
from tests.missing import STRICT, NotHere


def missing_server(options: tuple[str, ...]) -> AbstractContextManager[DatabaseServer]:
    raise NotHere("there is no such server on this machine; install Debian's package")


def let_nobody_in(url: str) -> None:
    raise ConnectionError(url)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System[DatabaseServer]:
    monkeypatch.setattr(shared, "docker_answers", lambda: False)
    return System(
        name="a database",
        variable="FOREBAY_TEST_A_DATABASE",
        server=missing_server,
        container=lambda: nullcontext(""),
        enter=let_nobody_in,
    )


def test_without_a_server_the_tests_are_skipped_with_the_reason(
    system: System[DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STRICT, raising=False)

    with pytest.raises(pytest.skip.Exception, match="install Debian's package"):
        system.named_or_started(ExitStack())
    with pytest.raises(pytest.skip.Exception, match="install Debian's package"):
        system.starter(ExitStack())()


def test_without_a_server_they_fail_where_nothing_may_be_skipped(
    system: System[DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STRICT, "1")

    with pytest.raises(pytest.fail.Exception, match="nothing may be skipped"):
        system.named_or_started(ExitStack())


def test_a_server_that_is_named_and_lets_nobody_in_is_a_failure(
    system: System[DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_TEST_A_DATABASE", "somewhere")
    monkeypatch.setattr("tests.databases.server.READY_S", 0.0)

    with pytest.raises(pytest.fail.Exception, match="FOREBAY_TEST_A_DATABASE is set"):
        system.named_or_started(ExitStack())
