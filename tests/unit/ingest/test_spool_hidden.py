"""Records that a changed bit hides, in a file of which SQLite finds nothing wrong."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.store import Store
from tests.spool.stores import Stores, kept, numbers, put

_PAGE = 4096

#: How a page begins that has records.
_LEAF = 13


def reopened(stores: Stores) -> Store:
    """By a host that starts."""
    stores.close()
    return stores.open()


def hide(path: Path) -> None:
    """Have a page say that it has fewer records than it has."""
    octets = bytearray(path.read_bytes())
    page = next(at for at in range(_PAGE, len(octets), _PAGE) if octets[at] == _LEAF and octets[at + 4] > 1)
    octets[page + 4] -= 1
    path.write_bytes(octets)


def mislay(path: Path) -> None:
    """Have a page name a wrong place for the first record that it has."""
    octets = bytearray(path.read_bytes())
    page = next(at for at in range(_PAGE, len(octets), _PAGE) if octets[at] == _LEAF and octets[at + 4] > 1)
    octets[page + 8] ^= 1
    path.write_bytes(octets)


@pytest.mark.parametrize("damage", [hide, mislay])
def test_a_file_is_not_deleted_while_records_are_hidden_in_it_that_sqlite_does_not_miss(
    stores: Stores, damage: Callable[[Path], None]
) -> None:
    before = stores.open()
    for number in range(6):
        before.put([put(number, f"{number}.ru", size=300)])
    before.close()
    damage(stores.folder.file(1))

    store = stores.open()
    store.inherit()
    heads = [head for head in store.heads(0, 100) if head.key]
    found = [kept for kept in store.load([head.seq for head in heads]) if kept.is_whole]
    store.delete(heads)
    store.tidy()
    later = kept(store.put([put(7)]))

    assert len(found) == 5
    assert [head.key for head in store.heads(0, 100)] == ["", "a.ru"]
    assert store.counts.records == 2
    assert stores.folder.numbers() == [1, 2]
    # So it is for whoever drains next, and for a host that starts.
    for opened_again in (Stores.open, reopened):
        heir = opened_again(stores)
        heir.inherit()
        heir.tidy()
        assert [head.seq for head in heir.heads(0, 100) if head.key] == later
        assert [head.key for head in heir.heads(0, 100)] == ["", "a.ru"]


def test_nobody_waits_until_the_records_of_a_large_backlog_are_counted(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, count = list[int](), SpoolFile.count

    def counting(file: SpoolFile) -> int:
        counted.append(file.number)
        return count(file)

    monkeypatch.setattr(SpoolFile, "count", counting)
    first = stores.open()
    counted.clear()
    first.put([put(number) for number in range(1000)])

    heir = stores.open()
    heir.inherit()
    heir.tidy()
    while_there_are_many = list(counted)
    first.delete(first.heads(0, 1))
    heir.inherit()

    assert (while_there_are_many, counted) == ([], [1])


def test_a_file_of_a_former_version_that_did_not_count_what_it_deleted_goes_when_it_is_sent(stores: Stores) -> None:
    before = stores.open()
    kept(before.put([put(1), put(2)]))
    with closing(sqlite3.connect(stores.folder.file(1), isolation_level=None)) as opened:
        opened.execute("DROP TRIGGER deleted")
        opened.execute("DELETE FROM sqlite_sequence WHERE name = 'deleted'")

    before.delete(before.heads(0, 1))
    before.tidy()

    assert (before.counts.closed, numbers(before)) == (0, [b"2"])
