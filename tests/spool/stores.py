"""Stores of one folder, as the processes of a host open them, and disks that fail under them."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from forebay.ingest.spool.errors import SpoolUnavailable
from forebay.ingest.spool.file import SpoolFile
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record

LARGE = 1 << 30


def put(number: int, key: str = "a.ru", *, owner: str | None = None, size: int = 0) -> Put:
    value = str(number).encode().ljust(size)
    return Put(stream="events", record=Record(key=key, value=value, timestamp_ms=number), owner=owner)


class Stores:
    """Stores of one folder, as the processes of a host open them."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = Folder(data_dir)
        self._opened: list[Store] = []

    def open(self, max_bytes: int = LARGE, clock: Sequence[float] = (), patience_s: float = 0.0) -> Store:
        ticks = iter(clock)
        folder = Folder(self.folder.root.parent)
        store = Store(folder, max_bytes, clock=lambda: next(ticks, 0.0), patience_s=patience_s)
        # Before it is open: one that can't be opened has files all the same.
        self._opened.append(store)
        store.open()
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


class FailingFile(SpoolFile):
    """A disk that fails: `fails` says at which method, and with which of SQLite's errors."""

    fails: tuple[str, int] | None = None

    @classmethod
    def create(cls, path: Path, number: int) -> SpoolFile:
        _fail(cls.fails, "create")
        return super().create(path, number)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with super().writing():
            yield
        # What stands in the log is read after a crash, as if that had been no failure.
        _fail(self.fails, "commit")

    def insert(self, puts: Sequence[Put]) -> list[int]:
        _fail(self.fails, "insert")
        return super().insert(puts)

    def touch(self) -> list[int]:
        _fail(self.fails, "insert")
        return super().touch()

    def delete(self, seqs: object) -> None:
        _fail(self.fails, "delete")
        super().delete(seqs)  # type: ignore[arg-type]  # as it came


def _fail(fails: tuple[str, int] | None, method: str) -> None:
    if fails and fails[0] == method:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = fails[1]
        raise error


def numbers(store: Store) -> list[bytes]:
    return [kept.record.value.strip() for kept in store.load([head.seq for head in store.heads(0, 1000)])]


def kept(outcomes: Sequence[int | SpoolUnavailable]) -> list[int]:
    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, int)]
