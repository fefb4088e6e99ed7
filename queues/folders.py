"""Folders, and files, that are still there after a power cut."""

import os
from contextlib import suppress
from pathlib import Path

#: Who may put another file in the place of ours has what stands there.
_ABOVE = 0o775


def make_folder(path: Path, mode: int = _ABOVE) -> None:
    """Make the folder of that mode, and those above it that are missing; their names are durable then.

    Not everybody may write there, even where a umask has it so. Idempotent. Raises `OSError` where it can't be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing[1:]):
        folder.mkdir(_ABOVE, exist_ok=True)
    path.mkdir(mode, exist_ok=True)
    for folder in reversed(missing):
        leave_to_owner(folder)
        # The name of each stands in the one above it, and a file's own fsync says nothing of it.
        _sync(folder.parent)


def open_private(path: Path) -> int:
    """Open the file to be read and written; one that is missing is made, for this user's eyes only.

    Raises `OSError` where that can't be.
    """
    was_there = path.exists()
    file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    if not was_there:
        leave_to_owner(path)
    return file


def leave_to_owner(made: Path) -> None:
    """What root has made belongs to whoever the folder belongs to: as another user, a service could not open it."""
    if os.geteuid() == 0:
        # Not every root may, and somebody may have taken it away meanwhile.
        with suppress(OSError):
            owner = made.parent.stat()
            os.chown(made, owner.st_uid, owner.st_gid, follow_symlinks=False)


def write_whole(path: Path, said: bytes) -> None:
    """Put this in place of what stands in the file, which is whole at every moment, whoever else writes it.

    Raises `OSError` where that can't be; then the file is as before.
    """
    make_folder(path.parent)
    new = path.with_suffix(f".{os.getpid()}.new")
    try:
        with new.open("wb") as file:
            file.write(said)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        # Only there where the disk was full, which it need not be by this.
        new.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    # SQLite leaves it at that too: some file systems can't, and not everybody may read what he may write to.
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
