"""`forebay spool status`, `drain` and `verify`, as one calls them, over spools that an ingest has left."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from forebay.console.cli import build
from forebay.console.errors import WrongUsage
from forebay.console.progress import _lines
from forebay.ingest.gaps.book import FOLDER, own_book
from forebay.ingest.gaps.gap import Gap
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.locks import FileLock
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Delivery, Record, StoredRecord
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec

TOPIC, LARGE = "bitrix24.events", 1 << 30

#: The smallest that the settings take.
SMALLEST = 1 << 20


class Host:
    """A host with a spool, and a queue in the memory of this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data_dir, self.name = folder / "data", f"memory://{folder}"
        self.data_dir.mkdir()
        self.spool = Folder(self.data_dir)
        self._monkeypatch = monkeypatch

    def keep(self, *portals: str, value: bytes = b"") -> None:
        """Put a record for each into the spool, in this order, and let go of it."""
        store = Store(self.spool, LARGE)
        store.open()
        puts = [
            Put(stream=TOPIC, record=Record(key=portal, value=value or str(number).encode(), timestamp_ms=1))
            for number, portal in enumerate(portals)
        ]
        store.put(puts)
        store.close()

    def refuse(self, *portals: str) -> None:
        """Have an ingest note a gap of each, and let go of its book."""
        book = own_book(self.data_dir / FOLDER)
        assert book
        for portal in portals:
            one = Gap(portal=portal, member_id=None, endpoint="/bitrix24", verified=True, from_ms=1, to_ms=2, calls=1)
            book.write(one)
        book.close()

    def run(self, *arguments: str) -> Result:
        command = ["--data-dir", str(self.data_dir), "--queue-url", self.name, "spool", *arguments, "--json"]
        return CliRunner().invoke(build(), command)

    def row(self, *arguments: str, status: int = 0) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.exit_code == status, done.output
        # A log that nobody has set up is written before it.
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def replace_queue(self, queue: MemoryQueue) -> None:
        """Have the commands find this one."""
        self._monkeypatch.setattr("forebay.console.reading.open_queue", lambda settings: queue)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.chdir(tmp_path)
    # It is for a whole process, and other tests look at the log of this one.
    monkeypatch.setattr("forebay.console.logs.set_up_logs", lambda: None)
    return Host(tmp_path, monkeypatch)


def spoil(file: Path) -> None:
    """Flip a bit of the first record, as a bad disk does."""
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute("UPDATE record SET value = x'ff' WHERE seq = (SELECT min(seq) FROM record)")


def test_a_spool_that_was_never_used_is_empty(host: Host) -> None:
    row = host.row("status")

    assert row == {"records": 0, "bytes": 0, "portals": 0, "oldest_s": None, "state": "empty"}


def test_what_nobody_drains_is_orphaned_and_counted(host: Host) -> None:
    host.keep("a.ru", "a.ru", "b.ru")

    row = host.row("status")

    assert (row["records"], row["portals"], row["state"]) == (3, 2, "orphaned")
    assert row["bytes"] > 3 * 100
    assert row["oldest_s"] > 1_700_000_000


def test_what_an_ingest_drains_is_draining(host: Host) -> None:
    host.keep("a.ru")

    with taken(host.spool.draining.path):
        state = host.row("status")["state"]

    assert state == "draining"


def test_a_spool_that_has_as_much_as_it_may_is_full(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_SPOOL_MAX_BYTES", str(SMALLEST))
    host.keep("a.ru", value=b"x" * SMALLEST)

    assert host.row("status")["state"] == "full"


@pytest.mark.parametrize("how", ["a second file", "no SQLite file"])
def test_a_spool_with_a_file_that_is_not_written_to_any_more_is_broken(host: Host, how: str) -> None:
    host.keep("a.ru")
    if how == "a second file":
        store = Store(host.spool, LARGE)
        store.open()
        store.counts.closed = 1
        store.put([Put(stream=TOPIC, record=Record(key="a.ru", value=b"", timestamp_ms=1))])
        store.close()
    else:
        host.spool.file(1).write_bytes(b"no such thing" * 1000)

    assert host.row("status")["state"] == "broken"


def test_a_spool_is_drained_in_the_order_of_each_portal(host: Host) -> None:
    host.keep("a.ru", "b.ru", "a.ru", "a.ru")
    host.replace_queue(queue := MemoryQueue())

    row = host.row("drain")
    again = host.row("drain")

    assert (row, again) == ({"sent": 4, "left": 0}, {"sent": 0, "left": 0})
    assert [record.value for record in standing(queue) if record.key == "a.ru"] == [b"0", b"2", b"3"]
    assert host.row("status")["state"] == "empty"


def test_the_portals_of_a_host_that_won_t_come_back_are_told_of_its_gaps(host: Host) -> None:
    host.keep("a.ru")
    host.refuse("a.ru", "b.ru")
    host.replace_queue(queue := MemoryQueue())

    done = host.run("drain")
    again = host.run("drain")

    assert "2 portals are told of a gap" in done.stderr and "gap" not in again.stderr
    # Behind what was kept before it.
    of_first = [record for record in standing(queue) if record.key == "a.ru"]
    assert of_first[0].value == b"0" and codec().decode(of_first[1].value).name == names.GAP
    assert [record.key for record in standing(queue)].count("b.ru") == 1


def test_gaps_that_the_queue_does_not_take_stay(host: Host) -> None:
    host.keep("b.ru")
    host.refuse("a.ru", "b.ru")
    host.replace_queue(Refusing())

    refused = host.run("drain")
    host.replace_queue(queue := MemoryQueue())
    host.row("drain")

    assert isinstance(refused.exception, RecordRefused)
    assert "a.ru" in {record.key for record in standing(queue)}


def test_a_host_without_a_spool_has_nothing_to_drain(host: Host) -> None:
    assert host.row("drain") == {"sent": 0, "left": 0}
    assert list(host.data_dir.iterdir()) == []


def test_a_spool_that_an_ingest_drains_is_left_to_it(host: Host) -> None:
    host.keep("a.ru")
    host.replace_queue(queue := MemoryQueue())

    with taken(host.spool.draining.path):
        refused = host.run("drain")
        still_its_own = not FileLock(host.spool.draining.path).take()

    assert isinstance(refused.exception, WrongUsage)
    assert "an ingest drains" in str(refused.exception) and "forebay spool status" in str(refused.exception)
    assert still_its_own
    assert queue.logs == {}
    assert host.row("status")["records"] == 1
    assert host.row("drain") == {"sent": 1, "left": 0}


class Refusing(MemoryQueue):
    """Takes no record of `a.ru`, not even into quarantine."""

    def producer(self) -> MemoryProducer:
        return RefusingProducer(self)


class RefusingProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if record.key == "a.ru":
            raise RecordRefused("not allowed")
        super().submit(stream, record, delivery)


def test_what_neither_queue_nor_quarantine_takes_stays_and_is_a_failure(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    host.replace_queue(queue := Refusing())

    row = host.row("drain", status=1)

    assert row == {"sent": 1, "left": 1}
    assert [record.key for record in standing(queue)] == ["b.ru"]
    assert host.row("status")["records"] == 1


def test_what_the_disk_has_changed_goes_to_quarantine_and_its_neighbours_to_the_queue(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    spoil(host.spool.file(1))
    host.replace_queue(queue := MemoryQueue())

    row = host.row("drain")

    [set_aside] = [record for log in queue.logs[names.quarantine(TOPIC)] for record in log]
    assert row == {"sent": 2, "left": 0}
    assert dict(set_aside.headers)[names.QUARANTINE_REASON] == b"damaged_in_spool"
    assert [record.key for record in standing(queue)] == ["b.ru"]


class Deaf(MemoryQueue):
    """Has its streams, and takes nothing."""

    def producer(self) -> MemoryProducer:
        return DeafProducer(self)


class DeafProducer(MemoryProducer):
    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        raise QueueUnavailable("no leader")


def test_a_queue_that_takes_nothing_ends_the_drain_and_everything_stays(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.console.draining._PATIENCE_S", 0.01)
    host.keep("a.ru", "b.ru")
    host.replace_queue(Deaf())

    done = host.run("drain")

    assert isinstance(done.exception, QueueUnavailable)
    assert str(done.exception).startswith("2 events are still in the spool: the queue took none for")
    assert (host.row("status")["records"], host.row("status")["state"]) == (2, "orphaned")


def test_the_drain_tells_how_far_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[tuple[str, int]] = []
    told: list[int] = []

    @contextmanager
    def progress(doing: str, total: int, stream: object) -> Iterator[Callable[[int], None]]:
        began.append((doing, total))
        yield told.append

    monkeypatch.setattr("forebay.console.draining.progress", progress)
    host.keep(*["a.ru"] * 3, *["b.ru"] * 2)
    host.replace_queue(MemoryQueue())

    host.row("drain")

    # A portal's records go one after the other, so there are several steps.
    assert began == [("draining", 5)]
    assert told == sorted(told)
    assert told[-1] == 5 and len(told) > 1


def test_where_nobody_watches_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    with _lines("draining", 2000, sys.stdout, lambda: now) as told:
        for now in (1.0, 6.0, 7.0, 12.0, 18.0):
            told(int(now * 100) if now < 18 else 2000)

    assert capsys.readouterr().out.splitlines() == ["draining: 600 of 2,000", "draining: 1,200 of 2,000"]


def test_a_whole_spool_is_verified_without_a_row(host: Host) -> None:
    host.keep("a.ru", "b.ru")

    done = host.run("verify")

    assert (done.exit_code, done.stdout) == (0, "")


def test_a_flipped_bit_is_a_row_and_a_failure(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    spoil(host.spool.file(1))

    row = host.row("verify", status=1)

    assert row == {"file": "spool-000001.db", "record": 1, "fault": "its checksum is wrong"}


def test_a_file_that_can_not_be_read_is_a_row_and_a_failure(host: Host) -> None:
    host.keep("a.ru")
    host.spool.file(1).write_bytes(b"no such thing" * 1000)

    row = host.row("verify", status=1)

    assert (row["file"], row["record"]) == ("spool-000001.db", None)
    assert "not a database" in row["fault"]


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_folder_that_is_not_there_is_wrong_usage(host: Host, command: str) -> None:
    done = run("spool", command, "--data-dir", "elsewhere", cwd=host.data_dir)

    assert done.returncode == 2
    assert "there is no folder elsewhere" in done.stderr


def test_a_refused_drain_is_wrong_usage(host: Host) -> None:
    host.keep("a.ru")

    with taken(host.spool.draining.path):
        done = run("--data-dir", str(host.data_dir), "spool", "drain", cwd=host.data_dir)

    assert done.returncode == 2
    assert done.stderr.startswith("forebay: an ingest drains")


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "forebay.console.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def taken(path: Path) -> Iterator[None]:
    """Somebody has the lock meanwhile."""
    path.parent.mkdir(exist_ok=True)
    (lock := FileLock(path)).take()
    yield
    lock.release()


def standing(queue: MemoryQueue) -> list[StoredRecord]:
    return [record for log in queue.logs[TOPIC] for record in log]
