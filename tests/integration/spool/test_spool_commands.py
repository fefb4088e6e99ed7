"""`forebay spool status` and `verify`, as one calls them, over spools that an ingest has left."""

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from forebay.console.errors import WrongUsage
from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Kept, Put
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record
from forebay.queues.memory import MemoryQueue
from tests.spool.host import LARGE, SMALLEST, TOPIC, Host, run, spoil, taken


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


def test_a_spool_is_full_while_its_ingest_refuses_events_for_the_rest_of_its_room(host: Host) -> None:
    def state_after(size: int) -> str:
        store.put([Put(stream=TOPIC, record=Record(key="a.ru", value=b"x" * size, timestamp_ms=1))])
        return str(host.row("status")["state"])

    store = Store(host.spool, SMALLEST)
    store.open()

    assert [state_after(size) for size in (SMALLEST // 2, SMALLEST // 2, 1)] == ["orphaned", "full", "orphaned"]
    state_after(SMALLEST)
    store.close()
    assert host.row("status")["state"] == "orphaned"


def test_a_spool_is_full_while_its_disk_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(host.spool, LARGE)
    store.open()
    disk_full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with monkeypatch.context() as full:
        full.setattr(SpoolFile, "insert", lambda *_: (_ for _ in ()).throw(disk_full))
        store.put([Put(stream=TOPIC, record=Record(key="a.ru", value=b"", timestamp_ms=1))])

    assert host.row("status")["state"] == "full"
    store.close()


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


def test_a_file_that_can_not_be_opened_here_is_not_called_broken(host: Host) -> None:
    host.keep("a.ru")
    # As where its folder is read-only, for root too: SQLite finds no place for its log.
    host.spool.file(1).with_name("spool-000001.db-wal").mkdir()

    done = host.run("status")
    row = host.row("verify", status=1)

    assert isinstance(done.exception, WrongUsage)
    assert f"{host.spool.file(1)}: unable to open database file" in str(done.exception)
    assert all("copy the whole folder" in told for told in (str(done.exception), row["fault"]))


@pytest.mark.parametrize("is_drained", [False, True])
def test_whether_somebody_drains_is_seen_on_a_read_only_file_system(
    host: Host, monkeypatch: pytest.MonkeyPatch, is_drained: bool
) -> None:
    host.keep("a.ru")
    host.spool.draining.path.touch()
    opened = os.open

    def open_read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, mode)

    with taken(host.spool.draining.path) if is_drained else nullcontext(), monkeypatch.context() as mounted:
        mounted.setattr(os, "open", open_read_only)
        state = host.row("status")["state"]

    assert state == ("draining" if is_drained else "orphaned")


def test_what_was_sent_and_could_not_be_deleted_is_not_counted(host: Host) -> None:
    host.keep("a.ru", "b.ru", "b.ru")
    store = Store(host.spool, LARGE)
    store.open()
    store.counts.closed = 1
    store.delete(store.heads(0, 2))
    store.close()

    row = host.row("status")

    assert (row["records"], row["portals"], row["state"]) == (1, 1, "orphaned")


def test_a_whole_spool_is_verified_without_a_row(host: Host) -> None:
    host.keep("a.ru", "b.ru")

    done = host.run("verify")

    assert (done.exit_code, done.stdout) == (0, "")


def test_a_flipped_bit_is_a_row_and_a_failure(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    spoil(host.spool.file(1))

    row = host.row("verify", status=1)

    assert row == {"file": "spool-000001.db", "record": 1, "fault": "its checksum is wrong"}


def test_hidden_records_are_a_row_a_failure_and_a_broken_spool(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    octets = bytearray(host.spool.file(1).read_bytes())
    # Of the first page of records: how many it has.
    octets[4096 + 4] = 1
    host.spool.file(1).write_bytes(octets)

    row = host.row("verify", status=1)

    assert row == {"file": "spool-000001.db", "record": None, "fault": "records that it should have are not found: 1"}
    assert host.row("status")["state"] == "broken"


def test_a_changed_log_is_a_row_and_a_failure_and_is_mended_by_the_next_start(host: Host, tmp_path: Path) -> None:
    store = Store(host.spool, LARGE)
    store.open()
    store.put([Put(stream=TOPIC, record=Record(key="a.ru", value=b"", timestamp_ms=1))])
    # As a host leaves it that is killed.
    shutil.copytree(host.spool.root, tmp_path / "killed")
    store.close()
    shutil.rmtree(host.spool.root)
    shutil.copytree(tmp_path / "killed", host.spool.root)
    log = host.spool.root / "spool-000001.db-wal"
    octets = bytearray(log.read_bytes())
    octets[40] ^= 1
    log.write_bytes(octets)

    row = host.row("verify", status=1)
    host.keep("b.ru")

    assert row == {
        "file": "spool-000001.db",
        "record": None,
        "fault": "places of its log were changed: 1; the next start mends them",
    }
    assert host.row("status")["records"] == 2
    assert host.run("verify").exit_code == 0


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


def test_what_an_ingest_sends_while_it_is_verified_is_not_damaged(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.keep("a.ru", "b.ru")
    load = SpoolFile.load

    def load_the_rest(file: SpoolFile, seqs: Collection[int]) -> list[Kept]:
        with closing(SpoolFile(file.path, 1)) as ingest, ingest.writing():
            ingest.delete([min(seqs)])
        return load(file, seqs)

    monkeypatch.setattr(SpoolFile, "load", load_the_rest)

    assert host.run("verify").exit_code == 0


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_file_that_an_ingest_deletes_meanwhile_is_not_damaged(
    host: Host, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    host.keep("a.ru")
    numbers = Folder.numbers

    def numbers_and_then_delete(folder: Folder) -> list[int]:
        found = numbers(folder)
        for number in found:
            folder.remove(number)
        return found

    monkeypatch.setattr(Folder, "numbers", numbers_and_then_delete)
    done = host.run(command)

    assert done.exit_code == 0 and "broken" not in done.stdout


def test_a_file_of_which_nothing_can_be_read_is_left_and_a_failure(host: Host) -> None:
    host.keep("a.ru", "b.ru")
    host.spool.file(1).write_bytes(b"no such thing" * 1000)
    host.replace_queue(MemoryQueue())

    assert host.row("drain", status=1) == {"sent": 0, "left": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files that the ingest may not open")
def test_what_root_has_drained_still_belongs_to_the_ingest(host: Host) -> None:
    host.keep("a.ru")
    for path in (host.spool.root, *host.spool.root.iterdir()):
        os.chown(path, 1234, 1234)
    host.replace_queue(MemoryQueue())

    host.row("drain")

    assert {path.stat().st_uid for path in host.spool.root.iterdir()} == {1234}
