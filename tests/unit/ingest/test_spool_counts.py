"""What every process sees of the spool without a query: never too low, and not too high for long."""

import sqlite3

import pytest

from forebay.ingest.spool.errors import SpoolFull
from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.store import Store
from tests.spool.stores import LARGE, FailingFile, Stores, put


def test_every_process_sees_a_portals_backlog_until_its_last_record_is_gone(stores: Stores) -> None:
    one, other = stores.open(), stores.open()
    one.put([put(1), put(2)])
    seen = [other.counts.holds("a.ru"), other.counts.holds("b.ru")]

    heads = one.heads(0, 10)
    for head in heads:
        one.delete([head])
        seen.append(other.counts.holds("a.ru"))

    assert seen == [True, False, True, False]
    assert (other.counts.records, other.counts.size) == (0, 0)


def held(store: Store) -> tuple[str, int]:
    """The portals of which the counts tell, and how many records."""
    keys = ("a.ru", "b.ru", "gone.ru")
    return " ".join(key for key in keys if store.counts.holds(key)), store.counts.records


def test_counts_that_a_crash_left_too_high_are_set_right_and_never_fall_too_low(stores: Stores) -> None:
    store = stores.open()
    store.put([put(1, "a.ru"), put(2, "b.ru")])
    store.counts.add("gone.ru", 100)
    stores.close()

    reopened = stores.open()

    assert held(reopened) == ("a.ru b.ru", 2)


def test_a_process_that_starts_beside_others_counts_nothing_while_they_wait_to_write(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stores.open()
    first.put([put(1, "a.ru"), put(2, "b.ru", owner=first.owner.name)])
    monkeypatch.delattr(SpoolFile, "held")

    second = stores.open()

    assert held(second) == held(first) == ("a.ru b.ru", 2)


def test_what_a_dead_drainer_had_sent_and_could_not_delete_counts_again(
    stores: Stores, disk: type[FailingFile]
) -> None:
    drainer, other = stores.open(), stores.open()
    drainer.put([put(1, "a.ru"), put(2, "b.ru")])
    disk.fails = ("delete", sqlite3.SQLITE_IOERR_FSYNC)
    drainer.delete(drainer.heads(0, 1))
    sent = held(other)
    drainer.close()

    other.inherit()

    assert (sent, held(other)) == (("b.ru", 1), ("a.ru b.ru", 2))


def test_counts_are_set_right_by_what_is_known_and_what_has_come_since(stores: Stores) -> None:
    store = stores.open()
    store.put([put(1, "a.ru"), put(2, "b.ru")])
    store.counts.add("gone.ru", 100)

    store.set_right(known := store.heads(0, 1), known[-1].seq)

    assert held(store) == ("a.ru b.ru", 2)


def test_what_could_not_be_opened_can_be_closed(stores: Stores, disk: type[FailingFile]) -> None:
    disk.fails = ("create", sqlite3.SQLITE_FULL)
    store = Store(stores.folder, LARGE)

    with pytest.raises(SpoolFull):
        store.open()

    store.close()
    disk.fails = None
    assert held(stores.open()) == ("", 0)


def test_a_backlog_is_seen_at_once_when_the_counts_were_lost(stores: Stores) -> None:
    stores.open().put([put(1, "a.ru"), put(2, "a.ru"), put(3, "b.ru")])
    stores.close()
    stores.folder.counts.unlink()

    reopened = stores.open()

    assert [reopened.counts.holds(key) for key in ("a.ru", "b.ru", "c.ru")] == [True, True, False]
    assert (reopened.counts.records, reopened.counts.size) == (3, 3 * put(1).size)
