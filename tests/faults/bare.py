"""What disk and processors cost a write that has nothing of Forebay: by a process of its own, beside the rest."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A page of a SQLite file, so often: a tenth of what the load has the spool write.
_BYTES, _BETWEEN_S = 4096, 0.02

#: Pages that are written over and over, as those of the spool's log.
_PAGES = 256


@contextmanager
def bare_writes(folder: Path) -> Iterator[Path]:
    """Write and sync in that folder; what it took stands in the file that is returned."""
    found = folder / "bare.log"
    running = subprocess.Popen([sys.executable, __file__, str(folder / "bare.page"), str(found)])
    try:
        yield found
    finally:
        running.kill()
        running.wait()


def taken(found: Path, since: float, until: float) -> list[float]:
    """How many seconds each took of those begun in that time, from when it was due."""
    lines = [line.split() for line in found.read_text().splitlines() if line.endswith(".")]
    return [float(took) for due, took, _ in lines if since <= float(due) < until]


def _write(page: str, found: str) -> None:
    file = os.open(page, os.O_CREAT | os.O_WRONLY)
    os.posix_fallocate(file, 0, _PAGES * _BYTES)
    due, number = time.time(), 0
    with open(found, "w", buffering=1) as told:
        while True:
            due, number = max(due + _BETWEEN_S, time.time()), number + 1
            time.sleep(max(0.0, due - time.time()))
            os.pwrite(file, bytes(_BYTES), number % _PAGES * _BYTES)
            os.fdatasync(file)
            told.write(f"{due} {time.time() - due} .\n")


if __name__ == "__main__":
    _write(*sys.argv[1:])
