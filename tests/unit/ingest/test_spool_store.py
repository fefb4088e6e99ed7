"""The spool's files: what they keep, and in which order."""

import errno
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext, suppress
from pathlib import Path

import pytest

from forebay.ingest.spool.errors import SpoolBroken, SpoolFull
from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.owners import Owners
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError
from tests.spool.stores import LARGE, FailingFile, Stores, kept, numbers, put


def test_a_folder_that_somebody_empties_is_not_written_into_any_more(stores: Stores) -> None:
    store = stores.open()
    store.put([put(1)])
    for path in stores.folder.root.iterdir():
        if path.suffix.startswith(".db"):
            path.unlink()

    store.put([put(2)])

    assert [head.size > 0 for head in stores.open().heads(0, 10)] == [True]


def test_records_of_two_processes_stand_in_the_order_in_which_they_were_put(stores: Stores) -> None:
    first, second = stores.open(), stores.open()

    for number in range(6):
        kept((first, second)[number % 2].put([put(number)]))

    assert numbers(first) == numbers(second) == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_a_process_that_dies_while_it_begins_a_file_leaves_none_that_nobody_can_read(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying, suppress(ZeroDivisionError):
        # As the disk sees it: what was begun stays there, and nothing comes after it.
        dying.setattr(SpoolFile, "writing", lambda file: 1 / 0)
        stores.open()

    assert kept(stores.open().put([put(1)]))


def test_a_record_comes_back_as_it_was(stores: Stores) -> None:
    record = Record(key="a.ru", value=b"\0\xff", timestamp_ms=7, headers=(("ce_id", b"1"), ("ce_id", b"\xff")))
    stores.open().put([Put(stream="events.quarantine", record=record)])

    store = stores.open()
    (found,) = store.load([head.seq for head in store.heads(0, 10)])

    assert (found.stream, found.record, found.is_whole) == ("events.quarantine", record, True)


@pytest.mark.parametrize(("version", "is_refused"), [(2, True), (255, True), (1 << 20, False)])
def test_a_spool_of_a_newer_forebay_is_left_as_it_is_and_one_bit_makes_none(
    stores: Stores, tmp_path: Path, version: int, is_refused: bool
) -> None:
    kept(stores.open().put([put(1)]))
    stores.close()
    [file] = stores.folder.root.glob("*.db")
    with closing(sqlite3.connect(file)) as ours:
        ours.execute(f"PRAGMA user_version = {version}")
    before, store = file.read_bytes(), Store(Folder(tmp_path), LARGE)

    with (
        pytest.raises(QueueError, match=rf"newer Forebay \(version {version}, this one knows 1\): upgrade")
        if is_refused
        else nullcontext()
    ):
        store.open()

    assert file.read_bytes() == before
    if not is_refused:
        assert numbers(store) == [b"1"]
        store.close()


def test_what_is_over_the_quota_is_refused_and_what_was_kept_stays(stores: Stores) -> None:
    store = stores.open(max_bytes=3 * put(0).size)

    outcomes = store.put([put(number) for number in range(5)])
    again = store.put([put(9)])
    store.delete(store.heads(0, 1))
    after = store.put([put(5)])

    assert [type(outcome) for outcome in outcomes] == [int, int, int, SpoolFull, SpoolFull]
    assert isinstance(again[0], SpoolFull)
    assert isinstance(after[0], int)
    assert numbers(store) == [b"1", b"2", b"5"]


class FailsOnce(FailingFile):
    def insert(self, puts: Sequence[Put]) -> list[int]:
        if self.number == 1:
            self.fails = ("insert", sqlite3.SQLITE_IOERR_FSYNC)
        return super().insert(puts)


def test_after_a_failed_fsync_a_new_file_is_begun_and_the_old_one_is_never_written_to(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = stores.open(), stores.open()
    kept(store.put([put(1)]))
    monkeypatch.setattr("forebay.ingest.spool.files.SpoolFile", FailsOnce)
    broken = stores.open()

    kept(broken.put([put(2)]))
    kept(other.put([put(3)]))

    assert stores.folder.numbers() == [1, 2]
    assert numbers(other) == [b"1", b"2", b"3"]
    assert [head.seq >> 40 for head in other.heads(0, 10)] == [1, 2, 2]


def test_while_no_file_takes_anything_an_event_is_refused_and_later_ones_are_kept(
    stores: Stores, disk: type[FailingFile]
) -> None:
    store = stores.open(clock=[0.0, 1.0, 2.0, 3.0])
    disk.fails = ("insert", sqlite3.SQLITE_IOERR_FSYNC)

    (refused,) = store.put([put(1)])
    state = store.counts.state
    disk.fails = None

    assert isinstance(refused, SpoolBroken)
    assert state != 0 and not store.counts.holds("a.ru")
    kept(store.put([put(2)]))
    assert numbers(store) == [b"2"] and store.counts.state == 0


def test_what_a_failed_fsync_leaves_in_the_log_is_not_taken_for_kept_after_a_crash(
    stores: Stores, disk: type[FailingFile]
) -> None:
    store = stores.open(clock=[0.0, 1.0, 2.0, 3.0, 4.0])
    kept(store.put([put(1)]))
    disk.fails = ("commit", sqlite3.SQLITE_IOERR_FSYNC)
    (refused,) = store.put([put(2)])
    disk.fails = None
    kept(store.put([put(3)]))
    stores.close()

    heir = stores.open()
    heir.inherit()

    assert isinstance(refused, SpoolBroken)
    assert numbers(heir) == [b"1", b"3"]
    heir.delete(heir.heads(0, 10))
    heir.tidy()
    assert stores.folder.numbers() == [2]


def test_what_is_kept_under_a_number_that_was_refused_before_a_crash_is_sent(stores: Stores) -> None:
    (first,) = kept(stores.open().put([put(1)]))
    stores.folder.note_gone(1, [first + 1])
    stores.close()

    store = stores.open()
    (second,) = kept(store.put([put(2)]))
    store.counts.closed = 1
    heir = stores.open()
    heir.inherit()

    assert second == first + 1
    assert numbers(heir) == [b"1", b"2"]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_FSYNC])
def test_what_a_full_or_broken_disk_can_not_delete_is_not_sent_again_and_frees_its_space_in_the_end(
    stores: Stores, disk: type[FailingFile], code: int
) -> None:
    store = stores.open()
    store.put([put(1), put(2, "b.ru")])
    first, second = store.heads(0, 10)
    disk.fails = ("delete", code)

    store.delete([first])
    store.tidy()
    left, files = store.heads(0, 10), stores.folder.numbers()
    store.delete([second])
    store.tidy()

    assert (left, files) == ([second], [1])
    assert stores.folder.numbers() == []
    assert store.counts.records == 0 and not store.counts.holds("b.ru")
    disk.fails = None
    assert [seq >> 40 for seq in kept(store.put([put(3)]))] == [2]


def test_a_flipped_bit_is_found(stores: Stores) -> None:
    store = stores.open()
    (seq,) = kept(store.put([put(1)]))
    with sqlite3.connect(stores.folder.file(1)) as opened:
        opened.execute("UPDATE record SET value = x'32'")
    opened.close()

    (found,) = store.load([seq])

    assert not found.is_whole


def test_an_owner_tells_what_became_of_a_record(stores: Stores) -> None:
    store = stores.open()
    owner = store.owner
    gone, failed, open_ = kept(store.put([put(number, owner=owner.name) for number in range(3)]))
    owner.tell(gone, is_gone=True)
    owner.tell(failed, is_gone=False)
    owners = Owners(stores.folder)

    owners.look(owner.name, 0)
    known = [owners.is_gone(owner.name, seq) for seq in (gone, failed, open_)]
    owner.tell(open_, is_gone=True)
    owners.look(owner.name, 0)

    assert known == [True, False, None]
    assert owners.is_gone(owner.name, open_) is True


def test_what_an_owner_tells_after_its_end_goes_into_no_other_file(stores: Stores, tmp_path: Path) -> None:
    owner = stores.open().owner
    owner.close()
    # New files get the lowest number that is free.
    others = [(tmp_path / f"other-{number}").open("wb") for number in range(3)]

    with pytest.raises(OSError, match="Bad file descriptor"):
        owner.tell(1, is_gone=True)

    for other in others:
        other.close()
        assert Path(other.name).read_bytes() == b""


def test_a_record_whose_owner_died_without_a_word_counts_as_not_delivered(stores: Stores) -> None:
    store = stores.open()
    told, untold = kept(store.put([put(number, owner=store.owner.name) for number in range(2)]))
    store.owner.tell(told, is_gone=True)
    owners = Owners(stores.folder)

    store.owner.close()
    owners.look(store.owner.name, 0)

    assert [owners.is_gone(store.owner.name, seq) for seq in (told, untold)] == [True, False]


def test_files_of_dead_owners_go_when_nothing_is_theirs_any_more(stores: Stores) -> None:
    first, second = stores.open(), stores.open()
    first.put([put(1, owner=first.owner.name)])
    first.owner.close()
    second.owner.close()

    third = stores.open()

    left = {path.stem.removeprefix("owner-") for path in stores.folder.root.glob("owner-*")}
    assert left == {first.owner.name, third.owner.name}


def test_while_a_process_opens_the_spool_others_write(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    first, gone = stores.open(), stores.open()
    first.put([put(1)])
    gone.owner.close()
    meanwhile: list[list[int]] = []

    def written(call: Callable[..., object]) -> Callable[..., object]:
        def held_up(*given: object, **named: object) -> object:
            meanwhile.append(kept(first.put([put(2)])))
            return call(*given, **named)

        return held_up

    for slow, name in ((SpoolFile, "owners"), (Path, "unlink")):
        monkeypatch.setattr(slow, name, written(getattr(slow, name)))
    stores.open()

    assert len(meanwhile) == 2


def test_whose_records_stand_in_a_file_is_found_without_reading_them_all(stores: Stores) -> None:
    stores.open().put([put(1)])

    with sqlite3.connect(stores.folder.file(1)) as opened:
        ((*_, plan),) = opened.execute("EXPLAIN QUERY PLAN SELECT DISTINCT owner FROM record WHERE owner NOT NULL")
    opened.close()

    assert "USING COVERING INDEX owned" in plan


def test_nobody_else_may_read_the_spool(stores: Stores) -> None:
    stores.open().put([put(1)])

    modes = {path.name: path.stat().st_mode & 0o077 for path in (stores.folder.root, *stores.folder.root.iterdir())}

    assert set(modes.values()) == {0}, modes


@pytest.mark.parametrize("told_before", [0, 5000])
def test_on_a_full_disk_a_process_can_still_tell_what_became_of_its_records(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, told_before: int
) -> None:
    owner = stores.open().owner
    for seq in range(1, told_before + 1):
        owner.tell(seq, is_gone=True)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    for seq in range(told_before + 1, told_before + 4001):
        owner.tell(seq, is_gone=seq % 2 == 0)

    owners = Owners(stores.folder)
    owners.look(owner.name, 0)
    assert owners.is_gone(owner.name, told_before + 3999) is False
    assert owners.is_gone(owner.name, told_before + 4000) is True
