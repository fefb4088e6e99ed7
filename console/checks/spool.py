"""What `forebay doctor` looks at where the spool is: its folder, its disk, and what stands in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter
from typing import TYPE_CHECKING

from forebay.console.errors import WrongUsage
from forebay.console.spooled import Status, status
from forebay.ingest.spool.opening import has_spool
from forebay.queues.errors import QueueError
from forebay.queues.findings import Finding, State
from forebay.queues.opening import scheme_of

from .disks import MOUNTS, disk_found
from .folders import existing, made_good, writable

if TYPE_CHECKING:
    from forebay.console.settings import Settings

#: So many writes are measured; each is about what an event takes.
_WRITES, _WRITE_BYTES = 9, 4096

#: A call waits for one fsync while the queue is away, and Bitrix24 calls a handler less often that answers late.
_SLOW_S = 0.05

_MS = 1000

#: For so long librdkafka lets a record wait for others, under each of its two names.
_LINGERS = ("linger.ms", "queue.buffering.max.ms")


def spool_findings(settings: "Settings", mounts: Path = MOUNTS) -> Iterator[Finding]:
    """What was found; one line where there is no spool, or where this user may not look."""
    try:
        yield from _findings(settings, mounts)
    except OSError as error:
        remedy = f"give this user the right to read {error.filename}, or set data_dir to another place"
        yield Finding(check="spool", state="fail", detail=f"{error.filename}: {error.strerror}", remedy=remedy)
    except WrongUsage as error:
        detail, _, remedy = str(error).partition("; ")
        yield Finding(check="spool", state="fail", detail=detail, remedy=remedy)
    except QueueError as error:
        # The last one: a path may have any character.
        detail, _, remedy = str(error).rpartition(": ")
        yield Finding(check="spool", state="fail", detail=detail, remedy=remedy)


def _findings(settings: "Settings", mounts: Path) -> Iterator[Finding]:
    if not has_spool(settings):
        detail = (
            "none: the queue is a file on the same disk, and what keeps an event from it would keep it from the spool"
        )
        yield Finding(check="spool", state="ok", detail=detail)
        return
    folder = settings.data_dir.absolute() / "spool"
    home = existing(folder)
    yield from disk_found("spool disk", "data_dir", home, mounts)
    # Otherwise it has been said of data_dir already.
    faults = list(writable("data_dir", home, check="spool")) if home == folder else []
    yield from faults
    if os.access(home, os.W_OK | os.X_OK) and not faults:
        yield _fsync(home)
    yield from _content(settings, folder)
    yield from _patience(settings)


def _fsync(home: Path, clock: Callable[[], float] = perf_counter) -> Finding:
    taken: list[float] = []
    try:
        with TemporaryFile(dir=home, buffering=0) as file:
            for _ in range(_WRITES):
                began = clock()
                file.write(bytes(_WRITE_BYTES))
                os.fsync(file.fileno())
                taken.append(clock() - began)
    except OSError as error:
        wanted = made_good(error, f"look at the disk of {home}")
        remedy = f"{wanted}; while the queue is away no event can be kept there"
        return Finding(check="spool fsync", state="fail", detail=str(error.strerror), remedy=remedy)
    usual = median(taken)
    slow = usual > _SLOW_S
    return Finding(
        check="spool fsync",
        state="warn" if slow else "ok",
        detail=f"{usual * _MS:.1f} ms, the longest of {_WRITES} {max(taken) * _MS:.1f} ms",
        remedy="while the queue is away each answer waits for it: set data_dir to a faster disk" if slow else "",
    )


def _patience(settings: "Settings") -> Iterator[Finding]:
    """Whether what is set of Kafka's client lets an event be acknowledged before it goes to the spool."""
    if scheme_of(settings.queue_url) != "kafka":
        return
    for name in _LINGERS:
        wait_ms = float(str(settings.kafka.get(name, 0)))
        if wait_ms >= settings.ack_deadline_ms:
            yield Finding(
                check=f"kafka {name}",
                state="warn",
                detail=f"{wait_ms:g}: no event is acknowledged within ack_deadline_ms ({settings.ack_deadline_ms}), "
                "so all go through the spool",
                remedy="leave it out, or set ack_deadline_ms to much more",
            )


def _content(settings: "Settings", folder: Path) -> Iterator[Finding]:
    held = status(settings) if folder.is_dir() else Status()
    room = _room(settings, existing(folder), held.bytes)
    yield room
    yield _held(held, room)


def _room(settings: "Settings", home: Path, held: int) -> Finding:
    free, wanted = shutil.disk_usage(home).free, max(0, settings.spool_max_bytes - held)
    short = free < wanted
    return Finding(
        check="spool room",
        state="warn" if short else "ok",
        detail=f"{free >> 20:,} MiB free, {wanted >> 20:,} MiB are what it may still grow (spool_max_bytes)",
        remedy="free some space, or set spool_max_bytes to what the disk has" if short else "",
    )


#: State → how bad that is, and what to do about it.
_STATES: dict[str, tuple[State, str]] = {
    "empty": ("ok", ""),
    "draining": ("ok", ""),
    "orphaned": ("warn", "start the ingest of this data_dir, or send them with forebay spool drain"),
    "full": ("fail", "mend the queue, which takes none of them; or raise spool_max_bytes and restart the ingest"),
    "broken": ("fail", "see forebay spool verify, and look at the disk: a file is damaged, or could not be written to"),
}


def _held(held: Status, room: Finding) -> Finding:
    state, remedy = _STATES[held.state]
    if held.state == "full" and room.state != "ok":
        # Not by spool_max_bytes, then; and the queue need not be the cause.
        remedy = "free some space on its disk: while the queue is late or away, no event can be kept there"
    detail = f"{held.state}, holds {held.records:,} events"
    return Finding(check="spool", state=state, detail=detail, remedy=remedy)
