"""`forebay topics` over each system that is a server."""

from pathlib import Path

import pytest

from tests.databases.console import Command

_SQL = ("postgresql", "mariadb")


@pytest.mark.parametrize("system", [*_SQL, "redis", "memcached", "rabbitmq"])
def test_topics_are_planned_and_made(
    system: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forebay = Command(request.getfixturevalue(f"{system}_url"))

    planned = forebay.run("topics", "plan", status=1)
    missing = forebay.findings()["queue"]
    forebay.run("topics", "ensure")

    assert "stream bitrix24.events with 12 partitions" in planned
    assert ("table forebay_record" in planned) is (system in _SQL)
    assert (missing["state"], missing["remedy"]) == ("warn", "forebay topics ensure")
    forebay.run("topics", "plan")
    assert len(forebay.run("lag", "--json").splitlines()) == 12
