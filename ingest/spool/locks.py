"""Locks on files: they bind all processes of a host, and the kernel lets go of them when their holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FileLock:
    """One lock on one file. Two objects exclude each other also inside a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether we have it."""
        return self._file is not None

    def take(self) -> bool:
        """Try to have it, without waiting. Raises `OSError` where the file can't be made."""
        return self._file is not None or self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for it, and let go of it afterwards."""
        self._lock(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Let go of it. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def _lock(self, how: int) -> bool:
        file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock. Makes no file, and holds it for no longer than the look."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True
