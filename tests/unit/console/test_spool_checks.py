"""What doctor says of the spool, and what to do about it."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from forebay.console.checks import disks
from forebay.console.checks import spool as spool_checks
from forebay.console.checks.disks import file_system
from forebay.console.checks.examination import examined
from forebay.console.checks.folders import writable
from forebay.console.checks.needs import Side
from forebay.console.checks.spool import spool_findings
from forebay.console.settings import Settings, load_settings
from forebay.ingest.spool.counts import FULL
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record
from forebay.queues.findings import Finding

MOUNTS = """\
30 22 0:25 / /memory rw,nosuid shared:4 - tmpfs tmpfs rw
41 22 0:40 / /mnt/share rw - nfs4 filer:/share rw
42 41 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
43 22 0:41 / /mnt/with\\040space rw - cifs //filer/c rw
44 22 0:42 / /mnt/remote rw - fuse.sshfs me@filer:/ rw
45 22 0:43 / /container rw - overlay overlay rw
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
"""

HALF, WHOLE = 600, 1 << 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        options={"data_dir": str(tmp_path), "queue_url": "memory://", "spool_max_bytes": WHOLE}, environ={}
    ).settings


@pytest.fixture
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (file := tmp_path_factory.mktemp("proc") / "mountinfo").write_text(MOUNTS)
    return file


def keep(data_dir: Path, *sizes: int) -> Store:
    store = Store(Folder(data_dir), 1 << 30)
    store.open()
    record = [Record(key="a.ru", value=bytes(size), timestamp_ms=1) for size in sizes]
    store.put([Put(stream="events", record=one) for one in record])
    return store


def found(settings: Settings, check: str, mounts: Path = disks.MOUNTS) -> Finding:
    [one] = [finding for finding in spool_findings(settings, mounts) if finding.check == check]
    return one


def test_in_front_of_a_file_on_the_same_disk_there_is_no_spool_to_look_at(tmp_path: Path) -> None:
    settings = load_settings(options={"data_dir": str(tmp_path)}, environ={}).settings

    [one] = spool_findings(settings)

    assert (one.check, one.state) == ("spool", "ok")
    assert one.detail.startswith("none")


def test_what_was_left_in_a_spool_in_front_of_such_a_file_is_told(tmp_path: Path) -> None:
    settings = load_settings(options={"data_dir": str(tmp_path)}, environ={}).settings
    keep(tmp_path, 1).close()

    assert found(settings, "spool").detail == "orphaned, holds 1 events"


def test_a_spool_of_a_newer_forebay_is_told_as_one(tmp_path: Path) -> None:
    settings = load_settings(options={"data_dir": str(tmp_path)}, environ={}).settings
    keep(tmp_path, 1).close()
    [file] = (tmp_path / "spool").glob("*.db")
    with closing(sqlite3.connect(file)) as ours:
        ours.execute("PRAGMA user_version = 2")

    one = found(settings, "spool")

    assert (one.state, one.remedy) == ("fail", "upgrade this one")
    assert one.detail == f"{file} was made by a newer Forebay (version 2, this one knows 1)"


def test_a_spool_that_is_well_is_all_ok_and_nothing_is_made(settings: Settings, mounts: Path) -> None:
    findings = list(spool_findings(settings, mounts))

    assert [(one.check, one.state, one.remedy) for one in findings] == [
        ("spool disk", "ok", ""),
        ("spool fsync", "ok", ""),
        ("spool room", "ok", ""),
        ("spool", "ok", ""),
    ]
    assert list(settings.data_dir.iterdir()) == []


@pytest.mark.parametrize(("side", "is_looked_at"), [("all", True), ("ingest", True), ("process", False)])
async def test_doctor_looks_at_the_spool_for_who_runs_an_ingest(tmp_path: Path, side: Side, is_looked_at: bool) -> None:
    loaded = load_settings(options={"data_dir": str(tmp_path), "queue_url": "memory://"}, environ={})

    checks = {one.check for one in await examined(loaded, side)}

    assert ("spool" in checks) == is_looked_at


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/forebay", "ext4"),
        ("/memory/x", "tmpfs"),
        ("/memory-of", "ext4"),
        ("/mnt/share/x", "nfs4"),
        ("/mnt/share/local/x", "xfs"),
        ("/mnt/with space", "cifs"),
        ("/mnt/remote/x", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(mounts: Path, folder: str, kind: str) -> None:
    assert file_system(Path(folder), mounts) == kind


def test_where_the_kernel_has_no_list_of_mounts_nothing_is_said_of_the_disk(settings: Settings, tmp_path: Path) -> None:
    checks = [one.check for one in spool_findings(settings, tmp_path / "nothing")]

    assert "spool disk" not in checks and "spool" in checks


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("nfs4", "network"),
        ("cifs", "network"),
        ("fuse.sshfs", "network"),
        ("tmpfs", "memory"),
        ("overlay", "container"),
    ],
)
def test_a_disk_that_does_not_keep_is_a_warning_with_its_remedy(
    settings: Settings, tmp_path: Path, kind: str, told: str
) -> None:
    (mounts := tmp_path / "mountinfo").write_text(f"22 1 8:1 / / rw - {kind} x rw\n")

    one = found(settings, "spool disk", mounts)

    assert one.state == "warn"
    assert told in one.detail
    assert "set data_dir" in one.remedy and kind in one.remedy


def test_a_disk_with_less_room_than_the_spool_may_grow_is_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(settings.data_dir, HALF << 10).close()
    rooms = {}
    for free in (WHOLE - (HALF << 10) - 10_000, WHOLE - (HALF << 10) + 10_000):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        rooms[free] = found(settings, "spool room")

    short, enough = rooms.values()
    # What it holds already has its room.
    assert (short.state, enough.state) == ("warn", "ok")
    assert "spool_max_bytes" in short.remedy


def test_events_that_nobody_drains_are_a_warning(settings: Settings) -> None:
    keep(settings.data_dir, 1, 1).close()

    one = found(settings, "spool")

    assert (one.state, one.detail) == ("warn", "orphaned, holds 2 events")
    assert "forebay spool drain" in one.remedy


def test_events_that_an_ingest_drains_are_well(settings: Settings) -> None:
    store = keep(settings.data_dir, 1)
    draining = Folder(settings.data_dir).draining
    draining.take()

    one = found(settings, "spool")
    draining.release()
    store.close()

    assert (one.state, one.detail) == ("ok", "draining, holds 1 events")


def test_a_full_spool_is_a_failure(settings: Settings) -> None:
    keep(settings.data_dir, WHOLE).close()

    one = found(settings, "spool")

    assert one.state == "fail"
    assert "spool_max_bytes" in one.remedy


def test_a_spool_whose_disk_is_full_is_no_fault_of_the_queue(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(keep(settings.data_dir, 1)) as store:
        store.counts.state = FULL
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=0))

        one = found(settings, "spool")

    assert (one.state, one.detail) == ("fail", "full, holds 1 events")
    assert one.remedy.startswith("free some space")


def test_a_file_that_failed_is_a_failure(settings: Settings) -> None:
    keep(settings.data_dir, 1).close()
    Folder(settings.data_dir).file(1).write_bytes(b"no such thing" * 1000)

    one = found(settings, "spool")

    assert one.state == "fail"
    assert "forebay spool verify" in one.remedy


@contextmanager
def taking(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[None]:
    """A clock by which each fsync takes so long."""
    now = [0.0]

    def clock() -> float:
        now[0] += seconds / 2
        return now[0]

    monkeypatch.setattr(spool_checks, "_fsync", lambda home, measure=spool_checks._fsync: measure(home, clock))
    yield


@pytest.mark.parametrize(("seconds", "state"), [(0.01, "ok"), (0.2, "warn")])
def test_a_slow_fsync_is_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float, state: str
) -> None:
    with taking(monkeypatch, 2 * seconds):
        one = found(settings, "spool fsync")

    assert one.state == state
    assert one.detail == f"{seconds * 1000:.1f} ms, the longest of 9 {seconds * 1000:.1f} ms"
    assert ("faster disk" in one.remedy) == (state == "warn")


def test_an_fsync_that_fails_is_a_failure(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)

    one = found(settings, "spool fsync")

    assert (one.state, one.detail) == ("fail", "Input/output error")
    assert "look at the disk" in one.remedy


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EDQUOT, "raise the quota there"), (errno.ENOSPC, "free some space on its disk")]
)
def test_where_there_is_no_room_doctor_says_how_to_make_some(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    class Full(FileIO):
        def write(self, data: object) -> int:
            raise OSError(number, os.strerror(number))

    # A quota lets files be made, and takes nothing that is written to them; what is free on the disk may be much.
    for where in ("folders", "spool"):
        monkeypatch.setattr(f"forebay.console.checks.{where}.TemporaryFile", lambda **_: Full(os.devnull, "w"))
    (settings.data_dir / "spool").mkdir()

    of_spool = [one for one in spool_findings(settings) if one.state == "fail"]
    findings = [*writable("data_dir", settings.data_dir), *of_spool]
    monkeypatch.undo()

    assert [one.check for one in findings] == ["data_dir", "spool"]
    assert all(remedy in one.remedy and os.strerror(number) in one.detail for one in findings)


def test_a_spool_folder_that_can_not_be_written_to_is_a_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.data_dir / "spool").mkdir()

    def refuses(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("forebay.console.checks.folders.TemporaryFile", refuses)

    findings = {one.check: one for one in spool_findings(settings) if one.state == "fail"}

    assert findings.keys() == {"spool"}
    assert "can't be written to" in findings["spool"].detail
    assert "give this user the right to write" in findings["spool"].remedy


def test_a_data_dir_that_may_not_be_looked_into_is_a_failure(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(settings: Settings) -> bool:
        raise PermissionError(13, "Permission denied", "data/spool")

    monkeypatch.setattr(spool_checks, "has_spool", refuses)

    (one,) = spool_findings(settings)

    assert (one.state, one.detail) == ("fail", "data/spool: Permission denied")


def test_a_spool_that_can_not_be_opened_is_told_with_what_to_do(settings: Settings) -> None:
    keep(settings.data_dir, 1).close()
    # As where its folder is read-only, for root too: SQLite finds no place for its log.
    Folder(settings.data_dir).file(1).with_name("spool-000001.db-wal").mkdir()

    one = found(settings, "spool")

    assert one.state == "fail"
    assert "not write beside it" in one.detail
    assert "copy the whole folder" in one.remedy


@pytest.mark.parametrize(("linger_ms", "is_told"), [("200", True), (500, True), (5, False)])
def test_a_client_that_waits_until_the_event_is_in_the_spool_is_told(
    tmp_path: Path, linger_ms: str | int, is_told: bool
) -> None:
    options = {"data_dir": str(tmp_path), "queue_url": "kafka://127.0.0.1:9092", "kafka": {"linger.ms": linger_ms}}
    settings = load_settings(options=options, environ={}).settings

    told = [one.detail for one in spool_findings(settings) if one.check == "kafka linger.ms"]

    assert bool(told) is is_told
    assert all("no event is acknowledged within ack_deadline_ms (200)" in one for one in told)
