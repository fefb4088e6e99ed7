"""A file of SQLite of which a disk has changed some pages: it is found, and what can be read of it is kept."""

import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.sqlite import diagnosis
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record, send_all
from tests.missing import missing

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
NEEDS = Needs(streams={STREAM: frozenset()}, partitions=PARTITIONS, events=STREAM)
SENT = 2_000
_PAGE_BYTES = 4096


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/queue.db"


@pytest.fixture
async def damaged(queue: Queue, tmp_path: Path) -> Path:
    producer = queue.producer()
    await send_all(producer, SENT)
    await producer.close()
    await queue.close()
    file = tmp_path / "queue.db"
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // _PAGE_BYTES // 2 * _PAGE_BYTES)
        opened.write(bytes(4 * _PAGE_BYTES))
    return file


async def found_of(url: str) -> Finding:
    queue = open_queue(QueueSettings(queue_url=url))
    found = {one.check: one async for one in queue.diagnose(NEEDS)}
    await queue.close()
    return found["queue file"]


async def test_it_is_found_with_what_to_do(damaged: Path, url: str) -> None:
    finding = await found_of(url)

    assert (finding.state, finding.remedy) == ("fail", diagnosis.MENDED)
    assert str(damaged) in finding.detail
    assert "### A damaged file\n" in PAGE


async def test_who_reads_it_is_told_what_to_do(damaged: Path, url: str) -> None:
    queue = open_queue(QueueSettings(queue_url=url))
    inspector = queue.inspector()

    partition = next(number for number, bounds in (await inspector.bounds(STREAM)).items() if bounds.end)
    with pytest.raises(QueueUnavailable, match="A damaged file"):
        await inspector.read(STREAM, partition, 0, SENT)

    await inspector.close()
    await queue.close()


async def test_a_file_that_is_large_is_looked_through_for_a_while_only(
    queue: Queue, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = queue.producer()
    await send_all(producer, SENT)
    await producer.close()
    monkeypatch.setattr(diagnosis, "_LOOK_S", -1.0)
    monkeypatch.setattr(diagnosis, "_STEPS", 1)

    finding = await found_of(url)

    assert (finding.state, "quick_check" in finding.detail) == ("ok", True)


async def test_what_the_page_tells_to_type_keeps_what_can_be_read_and_the_queue_goes_on(
    damaged: Path, url: str, tmp_path: Path
) -> None:
    if not shutil.which("sqlite3"):
        missing("the shell of SQLite is not there (Debian: sqlite3)")
    [block] = re.findall(r"^```sh\n(.*?)^```", PAGE.split("### A damaged file\n")[1].split("\n## ")[0], re.M | re.S)

    done = subprocess.run(["sh", "-ec", block], cwd=tmp_path, capture_output=True, text=True, check=True)

    with closing(sqlite3.connect(damaged)) as direct:
        left = [value for (value,) in direct.execute("SELECT value FROM forebay_record ORDER BY offset")]
    assert 0 < len(left) < SENT
    assert int(done.stdout) == SENT - len(left)
    assert damaged.stat().st_mode & 0o077 == 0
    assert (await found_of(url)).state == "ok"
    queue = open_queue(QueueSettings(queue_url=url))
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group", session_s=3600)
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(SENT))
    assert await fetch(consumer, len(left) + 1) == [*left, str(SENT).encode()]
    await consumer.close()
    await producer.close()
    await queue.close()
