"""Locks on files: they bind all processes of a host, and the kernel lets go of them when their holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EROFS
from pathlib import Path


class FileLock:
    """One lock on one file. Two objects exclude each other also inside a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        #: The file of `held`, which is opened once: where no other can be opened, the lock can still be had.
        self._kept_open: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether we have it."""
        return self._file is not None

    def take(self) -> bool:
        """Try to have it, without waiting. Raises `OSError` where the file can't be made."""
        return self._file is not None or self._lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for it, and let go of it afterwards."""
        file = self._standing()
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let go of it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def close(self) -> None:
        """Let go of it and of its file. Idempotent."""
        self.release()
        file, self._kept_open = self._kept_open, None
        if file is not None:
            os.close(file)

    def _standing(self) -> int:
        """The open file, unless somebody has put another in its place."""
        if self._kept_open is None or not _is_at(self._kept_open, self.path):
            self.close()
            self._kept_open = self._opened()
        return self._kept_open

    def _opened(self) -> int:
        return os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def _lock(self) -> bool:
        file = self._opened()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock. Makes no file, and holds it for no longer than the look."""
    try:
        file = _opened_to_look(path)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _opened_to_look(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != EROFS:
            raise
    # Only there: NFS locks no file that is open for reading alone.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
