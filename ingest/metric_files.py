"""The files in which processes keep their metrics for each other, and what becomes of those of dead ones."""

import fcntl
import os
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from forebay.schemas.logger import get_logger

from .locks import FileLock, is_free
from .space import take_space

log = get_logger(__name__)

#: How a folder begins: before its lock is taken, and after. Who finds the second one's lock free knows that it is left.
_NEW, _FOLDER = "forebay-new-", "forebay-metrics-"
_OWNED = "owned.lock"

#: Who reads has it beside others; who puts files together has it alone, since no count may be seen twice or not at all.
_READ = "read.lock"

#: prometheus-client's names: what a file has, and whose it is.
_FILE = re.compile(r"(\w+)_(\d+)\.db")

#: Stands for whose it is where we have put files together.
_DEAD = "dead"

#: Used where there is such a folder: its files have holes, and who fills one on a full disk ends by SIGBUS, as each
#: process would that begins.
_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is ours alone

#: Where it has less room than this, as in a container whose other processes share it, it is worse than a disk.
_ROOM_BYTES = 8 << 20

#: Of prometheus-client's own files, at first; and what a value takes there beside its key, at most.
_BYTES = 1 << 16
_AROUND_KEY = 28


def memory_folder() -> Path | None:
    """A folder whose files are in memory, where there is one."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else None


@contextmanager
def metrics_folder() -> Iterator[str]:
    """A folder for this process and those that it starts, until it ends. Takes away what killed ones have left."""
    places, owner = _places(), os.getpid()
    for lock in (lock for place in places for lock in place.glob(f"{_FOLDER}*/{_OWNED}")):
        with suppress(OSError):
            if is_free(lock):
                shutil.rmtree(lock.parent, ignore_errors=True)
    root = next((place for place in places if _free(place) >= _ROOM_BYTES), max(places, key=_free))
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=root))
    FileLock(new / _OWNED).take()
    folder = new.rename(root / new.name.replace(_NEW, _FOLDER))
    try:
        yield str(folder)
    finally:
        # Forked processes come to their end by the same way, and the folder is not theirs.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)


def _places() -> list[Path]:
    """The better one first. Raises `OSError` where there is none."""
    memory = memory_folder()
    try:
        return [*([memory] if memory else ()), Path(tempfile.gettempdir())]
    except FileNotFoundError:
        # As in a container whose only volume is elsewhere.
        if memory is None:
            raise
        return [memory]


def _free(place: Path) -> int:
    return shutil.disk_usage(place).free


class _FilledFiles(MultiProcessCollector):
    """prometheus-client's collector, without the files that a starting process has made and not yet filled."""

    def collect(self) -> Iterable[Metric]:
        """The sum of all processes."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _size(file)]
        return cast(Iterable[Metric], self.merge(files, accumulate=True))  # type: ignore[no-untyped-call]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def exposition_of(folder: str, shown: Callable[[Collector], Collector] = lambda metrics: metrics) -> bytes:
    """The metrics of all processes that leave them in the folder, in Prometheus' text format, each as `shown`."""
    everyone = CollectorRegistry()
    _FilledFiles(everyone, path=folder)  # type: ignore[no-untyped-call]
    reading = os.open(Path(folder) / _READ, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # Beside others who read: one that is stopped meanwhile holds nobody up.
        fcntl.flock(reading, fcntl.LOCK_SH)
        return generate_latest(shown(everyone))
    finally:
        os.close(reading)


def forget_dead(folder: str) -> None:
    """Let the gauges of dead processes go, and put their counts together in one file: a sum may not sink.

    Each process has three files, and who is asked for the metrics reads all that there are. What can't be put together
    just now, since somebody reads or the disk is full, is when the next one has died. Of what can't be read the counts
    are lost, and no more than that.
    """
    with suppress(OSError):
        # Systemd empties /dev/shm of a user who logs out (RemoveIPC), and who comes in place of the dead begins there.
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for pid in {match[2] for _, match in _of_the_dead(folder)}:
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    reading = FileLock(Path(folder) / _READ)
    with suppress(OSError):
        try:
            for file, match in _of_the_dead(folder) if reading.take() else ():
                _add(_values_of(file), file.with_name(f"{match[1]}_{_DEAD}.db"))
                file.unlink()
        finally:
            reading.release()


def _of_the_dead(folder: str) -> list[tuple[Path, re.Match[str]]]:
    found = ((file, _FILE.fullmatch(file.name)) for file in Path(folder).iterdir())
    return [(file, match) for file, match in found if match and not _lives(int(match[2]))]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _values_of(file: Path) -> list[tuple[str, float, float]]:
    """Key, value, and when it was set."""
    if not _size(file):
        return []
    try:
        found = list(MmapedDict.read_all_values_from_file(str(file)))  # type: ignore[no-untyped-call]
    except (struct.error, RuntimeError, UnicodeDecodeError) as error:
        log.warning("metrics of a process that ended can't be read", file=str(file), error=repr(error))
        return []
    return [(key, value, at) for key, value, at, _ in found]


def _add(values: Sequence[tuple[str, float, float]], sums: Path) -> None:
    """Counts are added up; of gauges whose newest value is shown the newest stays."""
    with sums.open("a+b") as space:
        space.seek(0)
        # How many of its bytes say something stands first.
        used = int.from_bytes(space.read(4), sys.byteorder) + sum(
            len(key.encode()) + _AROUND_KEY for key, _, _ in values
        )
        take_space(space.fileno(), 0, max(_BYTES, used))
    kept = MmapedDict(str(sums))  # type: ignore[no-untyped-call]
    try:
        for key, value, at in values:
            before, newest = kept.read_value(key)  # type: ignore[no-untyped-call]
            if not sums.name.startswith("gauge"):
                kept.write_value(key, before + value, at)  # type: ignore[no-untyped-call]
            elif at > newest:
                kept.write_value(key, value, at)  # type: ignore[no-untyped-call]
    finally:
        kept.close()  # type: ignore[no-untyped-call]
