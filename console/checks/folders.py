"""Whether a folder is there, and can be written to."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from forebay.queues.findings import Finding


def existing(folder: Path) -> Path:
    """The folder, or the first above it that exists: the rest is made when it is needed."""
    # Not by pathlib, for which it is an error that this user may not look.
    return next(path for path in (folder, *folder.parents) if os.path.isdir(path))


def writable(setting: str, folder: Path, *, check: str | None = None) -> Iterator[Finding]:
    """Nothing when a file can be made in the folder: permissions alone don't tell, as in /proc."""
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        remedy = f"give this user the right to write to {folder}, or set {setting} to another place"
        detail = f"{folder} can't be written to: {error.strerror}"
        yield Finding(check=check or setting, state="fail", detail=detail, remedy=remedy)
