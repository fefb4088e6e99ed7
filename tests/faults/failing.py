"""Processes whose disk fails, whose clock jumps, and who die in the middle of a system call, as the test orders."""

import mmap
import shutil
import struct
import subprocess
from enum import IntEnum
from pathlib import Path

from tests.missing import missing

_SOURCE = Path(__file__).with_name("failing.c")

#: As `struct orders` in failing.c.
_ORDERS = struct.Struct("<iiiiqiii")


class End(IntEnum):
    """Where in a group commit a process dies: half a page written, before its fsync, or after it."""

    IN_WRITE = 1
    BEFORE_SYNC = 2
    AFTER_SYNC = 3


class Failing:
    """The orders for the processes of one site."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._library, self._path = library, folder / "orders"
        self._path.write_bytes(bytes(_ORDERS.size))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _ORDERS.size)

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs in its environment to obey."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_ORDERS": str(self._path)}

    def fail(self, *, write: int = 0, sync: int = 0, read: int = 0) -> None:
        """From now on writes, syncs and reads of the spool's files fail with these error numbers; 0: they don't."""
        struct.pack_into("<ii", self._map, 0, write, sync)
        struct.pack_into("<i", self._map, _ORDERS.size - 4, read)

    def end(self, how: End, calls: int) -> None:
        """Whoever makes the so manieth such call from now on dies in it."""
        struct.pack_into("<ii", self._map, 8, how, calls)

    def shift_clock(self, seconds: int) -> None:
        """The wall clock is off by so much from now on."""
        struct.pack_into("<q", self._map, 16, seconds)

    @property
    def deaths(self) -> int:
        """How many have died by order."""
        return int(_ORDERS.unpack_from(self._map)[5])

    @property
    def failures(self) -> int:
        """How many calls have failed by order."""
        return int(_ORDERS.unpack_from(self._map)[6])


def built(folder: Path) -> Path:
    """The library that obeys; skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        missing("a C compiler is needed to make system calls fail")
    library = folder / "failing.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    return library
