"""Disks of a few megabytes, in memory: they are full when they should be."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .reporting import Report
from .unmade import unmade


@contextmanager
def small_disk(folder: Path, megabytes: int, report: Report, fault: str) -> Iterator[Path]:
    """The folder, on a disk of its own of that size. Where none may be mounted the report says so."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        unmade(report, fault, f"a tmpfs can't be mounted by this user: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a process that is being killed may still have a file open there.
        subprocess.run(["umount", "--lazy", folder], check=True)
