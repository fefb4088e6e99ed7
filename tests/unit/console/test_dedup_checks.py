"""What doctor says of the database in which handlers with `dedup` remember."""

import asyncio
from pathlib import Path

import pytest

from forebay.console.checks.dedup import dedup_findings
from forebay.console.settings import Settings
from forebay.processors.dedup.keys import Key
from forebay.processors.dedup.opening import open_marks
from forebay.queues import opening
from forebay.queues.errors import ClientMissing
from forebay.queues.findings import Finding
from tests.ports import free_ports

KAFKA = "kafka://127.0.0.1:1"


def found(**settings: object) -> list[Finding]:
    async def _found() -> list[Finding]:
        return [finding async for finding in dedup_findings(Settings(**settings))]  # type: ignore[arg-type]  # by name

    return asyncio.run(_found())


def remember(settings: Settings) -> None:
    async def _remember() -> None:
        marks = open_marks(settings)
        digests = (number.to_bytes(16) for number in range(2000))
        keys = (Key(portal="a.ru", reader=bytes(16), digest=one, received_ms=0, window_ms=10**6) for one in digests)
        await marks.mark(*keys)
        await marks.close()

    asyncio.run(_remember())


def test_a_file_that_nobody_has_made_yet_is_nothing_to_speak_of(tmp_path: Path) -> None:
    assert found(data_dir=tmp_path, queue_url=KAFKA) == []
    assert list(tmp_path.iterdir()) == []


def test_marks_in_the_queues_own_server_are_looked_at_with_it(tmp_path: Path) -> None:
    assert found(data_dir=tmp_path, queue_url="postgresql://127.0.0.1:1/forebay") == []


@pytest.mark.parametrize("damaged", [0, 5, None])
def test_a_file_is_looked_through(tmp_path: Path, damaged: int | None) -> None:
    remember(Settings(data_dir=tmp_path, queue_url=KAFKA))
    if damaged is not None:
        with (tmp_path / "dedup.db").open("r+b") as file:
            file.seek(damaged * 4096)
            file.write(bytes(4096))

    [finding] = found(data_dir=tmp_path, queue_url=KAFKA)

    assert (finding.check, finding.state) == ("dedup", "ok" if damaged is None else "fail")
    assert damaged is None or "A damaged file" in finding.detail + finding.remedy


def test_a_server_that_is_away_is_told_with_the_setting_that_names_it(tmp_path: Path) -> None:
    [port] = free_ports(1)

    [finding] = found(data_dir=tmp_path, dedup_url=f"postgresql://forebay:hidden@127.0.0.1:{port}/marks")

    assert finding.state == "fail"
    assert "host and port in dedup_url" in finding.detail
    assert "handlers with dedup wait" in finding.remedy
    assert "hidden" not in finding.text()


def test_a_client_that_is_not_installed_is_told_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)
    settings = {"data_dir": tmp_path, "dedup_url": "postgresql://127.0.0.1:1/marks"}

    [finding] = found(**settings)
    with pytest.raises(ClientMissing) as refused:
        open_marks(Settings(**settings))  # type: ignore[arg-type]  # by name

    told = "dedup_url: postgresql needs a library that is missing: pip install 'forebay[postgresql]'"
    assert finding.detail == str(refused.value) == told
