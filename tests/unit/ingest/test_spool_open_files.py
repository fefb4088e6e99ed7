"""A process that has no file left to open: nothing is lost by it, and nothing is taken for damaged."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from forebay.ingest.spool.counts import BROKEN, OK
from forebay.ingest.spool.errors import SpoolBroken
from forebay.ingest.spool.file import SpoolFile
from tests.spool.stores import Stores, kept, numbers, put


@contextmanager
def no_file_left() -> Iterator[None]:
    """Meanwhile this process can open nothing."""
    limits, taken = resource.getrlimit(resource.RLIMIT_NOFILE), [os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 8, limits[1]))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for one in taken:
            os.close(one)


def test_the_first_record_is_kept_where_no_file_can_be_opened_any_more(stores: Stores) -> None:
    store = stores.open()

    with no_file_left():
        kept = store.put([put(1)])

    assert [one.record.value for one in stores.open().load(seq for seq in kept if isinstance(seq, int))] == [b"1"]


def test_an_event_for_which_the_newest_file_can_not_be_opened_is_refused_and_not_counted(stores: Stores) -> None:
    store, other = stores.open(), stores.open()
    kept(store.put([put(1)]))
    other.counts.closed = 1
    kept(other.put([put(2)]))

    with no_file_left():
        (refused,) = store.put([put(3, "b.ru")])
    state, records = store.counts.state, store.counts.records
    kept(store.put([put(4)]))

    assert isinstance(refused, SpoolBroken)
    assert (state, records) == (BROKEN, 2)
    assert (numbers(store), store.counts.state, store.counts.holds("b.ru")) == ([b"1", b"2", b"4"], OK, False)


@pytest.mark.parametrize("is_for_a_moment", [True, False])
def test_a_file_that_can_not_be_opened_is_not_taken_for_an_empty_one(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, is_for_a_moment: bool
) -> None:
    before = stores.open()
    before.put([put(1)])
    before.counts.closed = 1
    before.put([put(2, "b.ru")])
    before.close()
    opened = SpoolFile.__init__

    def forbidden(file: SpoolFile, path: Path, number: int, *, only_read: bool = False) -> None:
        opened(file, Path("/nowhere") if number == 1 else path, number, only_read=only_read)

    def no_file_is_left(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    store = stores.open()
    store._files.drop(1)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(SpoolFile, "__init__", forbidden)
        if is_for_a_moment:
            meanwhile.setattr("forebay.ingest.spool.folder.os.open", no_file_is_left)
            for look in (lambda: store.heads(0, 10), store.tidy):
                with pytest.raises(OSError, match="Too many open files"):
                    look()
        else:
            heads = store.heads(0, 10)
            store.delete([head for head in heads if head.key])
            store.tidy()
            assert [head.key for head in heads] == ["", "b.ru"]

    assert stores.folder.numbers() == [1, 2]
    assert numbers(stores.open())[0] == b"1"
