"""The spool's folder: which files stand there, and what their names mean."""

import os
import re
from pathlib import Path

from .locks import FileLock

_FILE = re.compile(r"spool-(\d{6,})\.db")
_BESIDE = ("", "-wal", "-shm")


def is_spool(path: Path) -> bool:
    """Whether files of a spool stand right in the folder."""
    return any(map(_FILE.fullmatch, os.listdir(path)))


class Folder:
    """`<data_dir>/spool`. Its files have growing numbers; only the newest is written to."""

    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "spool"
        #: Who has it may write, and may change what all processes see.
        self.writing = FileLock(self.root / "writing.lock")
        #: Who has it sends what stands in the spool to the queue.
        self.draining = FileLock(self.root / "draining.lock")
        self.counts = self.root / "counts"

    def make(self) -> None:
        """Make it, for the eyes of this user only: events stand in it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def numbers(self) -> list[int]:
        """The numbers of the files, oldest first."""
        if not self.root.is_dir():
            return []
        found = (_FILE.fullmatch(name) for name in os.listdir(self.root))
        return sorted(int(match[1]) for match in found if match)

    def file(self, number: int) -> Path:
        """Where the file of that number is."""
        return self.root / f"spool-{number:06}.db"

    def remove(self, number: int) -> None:
        """Delete the file, and what SQLite has put beside it."""
        for suffix in _BESIDE:
            Path(f"{self.file(number)}{suffix}").unlink(missing_ok=True)

    def owner(self, name: str) -> Path:
        """The lock that a process holds for as long as it may still learn what became of a record."""
        return self.root / f"owner-{name}.lock"

    def sync(self) -> None:
        """Make the names of new files durable."""
        for folder in (self.root, self.root.parent):
            opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
