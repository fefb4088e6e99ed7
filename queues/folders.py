"""Folders that are still there after a power cut."""

import os
from contextlib import suppress
from pathlib import Path


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make the folder of that mode, and those above it that are missing; their names are durable then.

    Idempotent. Raises `OSError` where it can't be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    # The name of each stands in the one above it, and a file's own fsync says nothing of it.
    for folder in reversed(missing):
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    # SQLite leaves it at that too: some file systems can't, and not everybody may read what he may write to.
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
