"""The spool's folder: which files stand there, and what their names mean."""

import os
import re
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from struct import Struct

from forebay.ingest.locks import FileLock
from forebay.queues.folders import make_folder
from forebay.queues.newer import refuse_newer

_FILE = re.compile(r"spool-(\d{6,})\.db")
_GONE = "-gone"

#: What stands beside a file under its name, and goes with it.
BESIDE = ("", "-wal", "-shm", _GONE)

_SEQ = Struct("<Q")

#: Raised with every change of what stands in the files; a program refuses what is newer than it knows.
VERSION = 1

#: Where SQLite keeps a file's `user_version`, and no version of ours is higher: a damaged page has any number there.
_VERSION_AT, _VERSIONS = slice(60, 64), range(256)

#: As many as SQLite opens of one database.
_FILES = 4


def is_spool(path: Path) -> bool:
    """Whether files of a spool stand right in the folder."""
    return any(map(_FILE.fullmatch, os.listdir(path)))


def check_files_are_left() -> None:
    """Raises `OSError` where this process, or the machine, has too few files left to open one of ours."""
    with ExitStack() as opened:
        for _ in range(_FILES):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


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
        make_folder(self.root, 0o700)

    def numbers(self) -> list[int]:
        """The numbers of the files, oldest first."""
        if not self.root.is_dir():
            return []
        found = (_FILE.fullmatch(name) for name in os.listdir(self.root))
        return sorted(int(match[1]) for match in found if match)

    def file(self, number: int) -> Path:
        """Where the file of that number is."""
        return self.root / f"spool-{number:06}.db"

    def refuse_newer(self) -> None:
        """Raise `QueueError` where a file is of a newer Forebay; what can't be read is not looked at."""
        for path in map(self.file, self.numbers()):
            refuse_newer(str(path), _version(path), VERSION)

    def remove(self, number: int) -> None:
        """Delete the file, and what SQLite has put beside it."""
        for suffix in BESIDE:
            Path(f"{self.file(number)}{suffix}").unlink(missing_ok=True)

    def note_gone(self, number: int, seqs: Iterable[int]) -> None:
        """Note records of a file that was closed, and is deleted when all are gone. Raises `OSError`. No fsync."""
        with open(f"{self.file(number)}{_GONE}", "ab") as file:
            # What a full disk has cut off is written over.
            file.truncate(file.tell() // _SEQ.size * _SEQ.size)
            file.write(b"".join(map(_SEQ.pack, seqs)))

    def forget_gone(self, number: int) -> None:
        """Take the note back. Idempotent."""
        Path(f"{self.file(number)}{_GONE}").unlink(missing_ok=True)

    def gone(self, number: int) -> list[int]:
        """What was noted of the file."""
        path = Path(f"{self.file(number)}{_GONE}")
        octets = path.read_bytes() if path.exists() else b""
        return [seq for (seq,) in _SEQ.iter_unpack(octets[: len(octets) // _SEQ.size * _SEQ.size])]

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


def _version(path: Path) -> int:
    # By hand: SQLite would look at the log first, which may have to be mended before.
    with suppress(OSError), open(path, "rb") as file:
        found = int.from_bytes(file.read(_VERSION_AT.stop)[_VERSION_AT])
        return found if found in _VERSIONS else VERSION
    return VERSION
