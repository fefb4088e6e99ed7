"""Disks that are full or damaged when a process opens the spool, or not any more."""

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from forebay.ingest.spool.counts import BROKEN, FULL, OK
from forebay.ingest.spool.errors import MayPass, SpoolBroken, SpoolFull
from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.kept import Head
from forebay.ingest.spool.owners import Owners
from forebay.ingest.spool.patience import Patience
from tests.spool.stores import FailingFile, Stores, kept, numbers, put

_PAGE = 4096


def full(file: int, at: int, length: int) -> None:
    if os.fstat(file).st_size < at + length:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("closed", [0, 1])
def test_what_stands_in_the_spool_is_sent_and_goes_first_where_the_disk_was_full_before(
    stores: Stores, disk: type[FailingFile], monkeypatch: pytest.MonkeyPatch, closed: int
) -> None:
    before = stores.open()
    before.put([put(1)])
    before.counts.closed = closed
    before.close()
    monkeypatch.setattr("os.posix_fallocate", full)
    disk.fails = ("create", sqlite3.SQLITE_FULL)

    store = stores.open()

    assert (numbers(store), store.counts.holds("a.ru")) == ([b"1"], True)


def test_a_spool_whose_folder_is_gone_is_broken_until_it_is_there_again(stores: Stores, tmp_path: Path) -> None:
    store, root = stores.open(), stores.folder.root
    store.put([put(1)])

    away = root.rename(tmp_path / "away")
    [refused] = store.put([put(2)])

    assert isinstance(refused, SpoolBroken) and "put the folder back" in str(refused)
    assert store.counts.state == BROKEN

    away.rename(root)
    store.try_disk()

    assert store.counts.state == OK
    assert numbers(store) == [b"1"]


def test_for_lack_of_space_beside_it_no_file_is_taken_for_a_damaged_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.open().put([put(1)])

    def no_space(file: SpoolFile) -> set[str]:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    with monkeypatch.context() as meanwhile, pytest.raises(SpoolFull):
        meanwhile.setattr(SpoolFile, "owners", no_space)
        stores.open()

    store = stores.open()
    assert (numbers(store), store.counts.closed, store.counts.records) == ([b"1"], 0, 1)


def test_who_opens_the_spool_gives_back_what_a_dead_process_has_taken_ahead(stores: Stores) -> None:
    dead = stores.open()
    (seq,) = kept(dead.put([put(1, owner=dead.owner.name)]))
    dead.owner.tell(seq, is_gone=True)
    dead.owner.close()

    stores.open()

    assert stores.folder.owner(dead.owner.name).stat().st_size == 8


@pytest.mark.parametrize("has_room", [True, False])
def test_a_spool_that_was_full_says_so_until_it_has_room(stores: Stores, has_room: bool) -> None:
    large = put(0, size=70_000)
    store = stores.open(max_bytes=3 * large.size)
    store.put([large] * 4)
    store.delete(store.heads(0, 1 if has_room else 0))
    was = store.counts.state

    store.try_disk()

    assert (was, store.counts.state) == (FULL, OK if has_room else FULL)


def test_a_disk_that_takes_something_again_is_found_to_do_so(stores: Stores, disk: type[FailingFile]) -> None:
    store = stores.open()
    disk.fails = ("insert", sqlite3.SQLITE_FULL)
    store.put([put(1)])
    store.try_disk()
    was = store.counts.state
    disk.fails = None

    store.try_disk()

    assert (was, store.counts.state, store.counts.records) == (FULL, OK, 0)


def test_trying_the_disk_writes_to_it(stores: Stores) -> None:
    store = stores.open()
    store.put([put(1)])
    # As where a newer program runs beside, for a restart that costs no call.
    with closing(sqlite3.connect(stores.folder.file(1))) as newer:
        newer.execute("PRAGMA user_version = 77")
        log = Path(f"{stores.folder.file(1)}-wal")
        before = log.stat().st_size

        assert store.try_disk() == ""

        assert log.stat().st_size > before
        assert newer.execute("PRAGMA user_version").fetchone() == (77,)
    assert numbers(store) == [b"1"]


@pytest.mark.parametrize(
    ("code", "state"),
    [(sqlite3.SQLITE_FULL, FULL), (sqlite3.SQLITE_IOERR_FSYNC, BROKEN), (sqlite3.SQLITE_READONLY, BROKEN)],
)
def test_a_disk_that_takes_nothing_is_found_before_an_event_needs_it(
    stores: Stores, disk: type[FailingFile], code: int, state: int
) -> None:
    store = stores.open()
    well = store.try_disk()
    disk.fails = ("commit", code)

    why_not = store.try_disk()

    assert (well, store.counts.state, store.counts.records) == ("", state, 0)
    assert str(stores.folder.root) in why_not


def damage_page(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    middle = len(octets) // _PAGE // 2 * _PAGE
    octets[middle : middle + 100] = b"\xff" * 100
    path.write_bytes(octets)


def lose_rest_of_a_long_value(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    places = range(0, len(octets), _PAGE)
    first = next(at for at in places if octets[at + 4 : at + _PAGE] == b" " * (_PAGE - 4))
    octets[first : first + 4] = b"\xff" * 4
    path.write_bytes(octets)


@pytest.mark.parametrize(
    ("damage", "size", "lost"), [(damage_page, 300, 20), (lose_rest_of_a_long_value, 3 * _PAGE, 1)]
)
def test_what_can_be_read_of_a_damaged_file_is_there_and_the_rest_is_counted(
    stores: Stores, damage: Callable[[Path], None], size: int, lost: int
) -> None:
    before = stores.open()
    for number in range(200):
        before.put([put(number, f"{number % 9}.ru", size=size)])
    before.close()
    damage(stores.folder.file(1))

    store = stores.open()
    heads = store.heads(0, 1000)
    found = store.load([head.seq for head in heads])
    store.delete([head for head in heads if head.key])
    store.tidy()

    assert 200 - lost <= len(found) < 200
    assert [head.seq for head in heads] == sorted(head.seq for head in heads)
    assert len(heads) == len(found) + 1
    assert store.counts.holds("1.ru") is False and store.counts.records == 1
    # Whoever drains next sends none of them again, and leaves the file to `verify`.
    heir = stores.open()
    heir.inherit()
    assert heir.heads(0, 1000) == [head for head in heads if not head.key]
    assert 1 in stores.folder.numbers()


def test_a_disk_that_can_not_be_read_for_a_moment_is_no_damaged_file(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.open().put([put(1), put(2, "b.ru")])
    store = stores.open(patience_s=10)

    def unreadable(*_: object) -> list[Head]:
        # As SQLite says it of a read that failed.
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    with monkeypatch.context() as meanwhile, pytest.raises(MayPass):
        meanwhile.setattr(SpoolFile, "heads", unreadable)
        store.heads(0, 10)

    assert (numbers(store), store.counts.closed) == ([b"1", b"2"], 0)


@pytest.mark.parametrize(
    ("failures", "may_pass"),
    [
        ([0.0, 2.0, 9.9], True),
        ([0.0, 2.0, 10.0], False),
        # Long ago it failed, too.
        ([0.0, 2.0, 100.0], True),
        # It is not waited for again.
        ([0.0, 10.0, 100.0], False),
    ],
)
def test_a_file_that_can_not_be_read_is_tried_again_for_some_time(failures: list[float], may_pass: bool) -> None:
    times = iter(failures)
    patience = Patience(lambda: next(times), 10.0)

    assert [patience.may_pass(1) for _ in failures][-1] is may_pass


def test_a_file_of_which_nothing_can_be_read_counts_as_one_record(stores: Stores) -> None:
    stores.open().put([put(1)])
    stores.close()
    stores.folder.file(1).write_bytes(b"no such thing" * 1000)

    store = stores.open()

    assert len(store.heads(0, 10)) == store.counts.records == 1
    assert numbers(store) == []


@pytest.mark.parametrize("what", [b"portal3.ru", b"o" * 32, b"events"])
def test_a_bit_that_is_no_text_any_more_keeps_nobody_from_reading_the_rest(stores: Stores, what: bytes) -> None:
    owners = {3: "o" * 32}
    stores.open().put([put(number, f"portal{number}.ru", owner=owners.get(number)) for number in range(6)])
    stores.close()
    stores.folder.counts.unlink()
    octets = bytearray(stores.folder.file(1).read_bytes())
    octets[octets.rindex(what)] ^= 0x80
    stores.folder.file(1).write_bytes(octets)

    store = stores.open()
    found = store.load([head.seq for head in store.heads(0, 10)])

    assert [int(one.record.value) for one in found] == [*range(6)]
    assert [one.is_whole for one in found].count(False) == (what != b"o" * 32)


def test_no_flipped_bit_keeps_the_drain_from_going_on_nor_new_records_from_being_kept(stores: Stores) -> None:
    records = [put(number, f"portal{number}.ru", owner="o" * 32 if number == 3 else None) for number in range(6)]
    stores.open().put(records)
    stores.close()
    good = stores.folder.file(1).read_bytes()
    of_the_record = good.rindex(b"o" * 32)
    # Types and lengths of its columns stand before the first one; of the schema's words, some.
    places = [*range(of_the_record - 12, of_the_record + 2), *range(good.index(b"CREATE TABLE record"), _PAGE, 5)]
    lost: dict[str, int] = {}

    for place, bit in ((place, bit) for place in places for bit in range(8)):
        for path in stores.folder.root.iterdir():
            path.unlink()
        stores.folder.file(1).write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
        store = stores.open()
        heads = store.heads(0, 10)
        owners = Owners(stores.folder)
        for name in {head.owner for head in heads if head.owner}:
            owners.look(name, 0)
        found = [one for one in store.load([head.seq for head in heads]) if one.is_whole]
        store.delete([head for head in heads if head.key])
        store.tidy()
        kept(store.put([put(7)]))
        store.close()
        if len(heads) < 6 and not stores.folder.file(1).exists():
            lost[f"byte {place}, bit {bit}"] = len(found)

    assert not lost


def test_a_file_of_which_nothing_is_left_keeps_nobody_from_reading_the_others(stores: Stores) -> None:
    before = stores.open()
    before.put([put(1)])
    before.counts.closed = 1
    before.put([put(2, "b.ru")])
    stores.close()
    stores.folder.file(1).write_bytes(b"")

    store = stores.open()

    assert [head.key for head in store.heads(0, 10)] == ["", "b.ru"]
    assert numbers(store) == [b"2"]
    assert kept(store.put([put(3)]))
