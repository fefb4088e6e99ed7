"""Whether a folder is there, and can be written to."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from forebay.queues.findings import Finding

#: The least that a disk gives to a file.
_PAGE_BYTES = 4096

#: Where there is no room, what makes some: what is free on the disk says nothing of a quota.
_NO_ROOM = {
    errno.ENOSPC: "free some space on its disk (or some of its inodes)",
    errno.EDQUOT: "delete what this user can do without on its disk, or raise the quota there",
}


def existing(folder: Path) -> Path:
    """The folder, or the first above it that exists: the rest is made when it is needed."""
    # Not by pathlib, for which it is an error that this user may not look.
    return next(path for path in (folder, *folder.parents) if os.path.isdir(path))


def writable(setting: str, folder: Path, *, check: str | None = None) -> Iterator[Finding]:
    """Nothing when a file can be made in the folder, and written: permissions alone don't tell, as in /proc."""
    try:
        with TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(_PAGE_BYTES))
    except OSError as error:
        wanted = made_good(error, f"give this user the right to write to {folder}")
        remedy = f"{wanted}, or set {setting} to another place"
        detail = f"{folder} can't be written to: {error.strerror}"
        yield Finding(check=check or setting, state="fail", detail=detail, remedy=remedy)


def made_good(error: OSError, otherwise: str) -> str:
    """What to do about it: make room, where that is what is missing."""
    return _NO_ROOM.get(error.errno or 0, otherwise)
