"""A host whose ingest has left a spool, and the commands over it."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from forebay.console.cli import build
from forebay.ingest.gaps.book import FOLDER, own_book
from forebay.ingest.gaps.gap import Gap
from forebay.ingest.locks import FileLock
from forebay.ingest.spool.folder import Folder
from forebay.ingest.spool.kept import Put
from forebay.ingest.spool.store import Store
from forebay.queues.contract import Record, StoredRecord
from forebay.queues.memory import MemoryQueue

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


def spoil(file: Path) -> None:
    """Flip a bit of the first record, as a bad disk does."""
    with closing(sqlite3.connect(file, isolation_level=None)) as opened:
        opened.execute("UPDATE record SET value = x'ff' WHERE seq = (SELECT min(seq) FROM record)")


@contextmanager
def taken(path: Path) -> Iterator[None]:
    """Somebody has the lock meanwhile."""
    path.parent.mkdir(exist_ok=True)
    (lock := FileLock(path)).take()
    yield
    lock.release()


def standing(queue: MemoryQueue) -> list[StoredRecord]:
    return [record for log in queue.logs[TOPIC] for record in log]


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "forebay.console.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)
