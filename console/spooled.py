"""What stands in a spool, read without changing it."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from time import time
from typing import TYPE_CHECKING

from forebay.ingest.locks import is_free
from forebay.ingest.spool.counts import BROKEN, FULL, OK, Counts, Held
from forebay.ingest.spool.file import RECORDS_A_FILE, SpoolFile
from forebay.ingest.spool.folder import Folder, is_spool
from forebay.ingest.spool.kept import Head
from forebay.ingest.spool.owners import somebody_lives
from forebay.ingest.spool.salvage import lacking
from forebay.ingest.spool.wal import mend

from .errors import WrongUsage
from .terminal.output import Row

if TYPE_CHECKING:
    from forebay.console.settings import Settings

#: Records read at once.
_READ = 500
_MS = 1000

#: SQLite's codes for a file that is closed to us, whatever stands in it; the low byte.
_CLOSED = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY})
_CODE = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole spool at a moment."""

    records: int = 0
    bytes: int = 0
    portals: int = 0
    #: Since the oldest record; None without one.
    oldest_s: float | None = None
    #: `empty`, `draining`, `orphaned`, `full` or `broken`.
    state: str = "empty"


def status(settings: "Settings") -> Status:
    """What stands there, and whether somebody drains it. Raises `WrongUsage` where this user may not open a file."""
    folder = folder_of(settings)
    records = size = 0
    portals: set[str] = set()
    oldest_ms: list[int] = []
    damaged = False
    for number in folder.numbers():
        try:
            with closing(SpoolFile(folder.file(number), number, only_read=True)) as file:
                gone = frozenset(folder.gone(number))
                held = _held_by(_left(file, gone)) if gone else file.held()
                damaged = damaged or lacking(file) != 0
                oldest_ms += [head.timestamp_ms for head in islice(_left(file, gone), 1)]
        except sqlite3.DatabaseError as error:
            # Who drains deletes a file that is sent, also while we look.
            if folder.file(number).exists():
                if _is_closed(error):
                    raise WrongUsage(f"{folder.file(number)}: {_words_of(error)}") from error
                damaged = True
            continue
        portals |= held.keys()
        records += sum(one.records for one in held.values())
        size += sum(one.size for one in held.values())
    return Status(
        records=records,
        bytes=size,
        portals=len(portals),
        oldest_s=max(0.0, time() - min(oldest_ms) / _MS) if oldest_ms else None,
        state=_state(folder, records, size / settings.spool_max_bytes, damaged=damaged),
    )


def _left(file: SpoolFile, gone: Collection[int]) -> Iterator[Head]:
    """All but those that were sent, and could not be deleted."""
    after = 0
    while heads := file.heads(after, _READ):
        yield from (head for head in heads if head.seq not in gone)
        after = heads[-1].seq


def _held_by(heads: Iterable[Head]) -> dict[str, Held]:
    found: dict[str, Held] = {}
    for head in heads:
        before = found.get(head.key, Held(records=0, size=0))
        found[head.key] = Held(records=before.records + 1, size=before.size + head.size)
    return found


def _state(folder: Folder, records: int, part: float, *, damaged: bool) -> str:
    refuses = _refuses(folder)
    if damaged or len(folder.numbers()) > 1 or refuses == BROKEN:
        return "broken"
    # An ingest takes nothing that would be too much, so that there is always a little less.
    if part >= 1 or refuses == FULL:
        return "full"
    if not records:
        return "empty"
    return "orphaned" if is_free(folder.draining.path) else "draining"


def _refuses(folder: Folder) -> int:
    """Why an ingest that runs takes nothing now: `FULL`, also where the disk is, or `BROKEN`; `OK` where it does."""
    with suppress(OSError, ValueError):
        if somebody_lives(folder):
            with closing(Counts(folder.counts, only_read=True)) as counts:
                return counts.state
    return OK


def faults(settings: "Settings") -> Iterator[Row]:
    """A row for each file that SQLite can't read whole, and for each record that is not as it was written."""
    folder = folder_of(settings)
    for number in folder.numbers():
        if changed := _changed_in_log(folder, number):
            yield _row(folder, number, None, f"places of its log were changed: {changed}; the next start mends them")
        try:
            with closing(SpoolFile(folder.file(number), number, only_read=True)) as file:
                yield from (_row(folder, number, None, words) for words in file.faults())
                if missing := lacking(file):
                    yield _row(folder, number, None, f"records that it should have are not found: {missing}")
                for seq in _damaged(file):
                    yield _row(folder, number, seq % RECORDS_A_FILE, "its checksum is wrong")
        except sqlite3.DatabaseError as error:
            if folder.file(number).exists():
                yield _row(folder, number, None, _words_of(error))


def _changed_in_log(folder: Folder, number: int) -> int:
    # The log of a file that is open is SQLite's; and what can't be opened is a row of its own.
    with suppress(OSError):
        return 0 if somebody_lives(folder) else sum(mend(folder.file(number), dry_run=True))
    return 0


def _is_closed(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & _CODE in _CLOSED


def _words_of(error: sqlite3.DatabaseError) -> str:
    if not _is_closed(error):
        return str(error)
    return (
        f"{error}: this user may not read it, or not write beside it, which SQLite needs to read it; run it as the "
        "user whose file it is, or copy the whole folder to where you may write, and name that one"
    )


def _damaged(file: SpoolFile) -> Iterator[int]:
    after = 0
    while heads := file.heads(after, _READ):
        # One that is not found was sent since.
        yield from (kept.seq for kept in file.load([head.seq for head in heads]) if not kept.is_whole)
        after = heads[-1].seq


def _row(folder: Folder, number: int, record: int | None, fault: str) -> Row:
    return {"file": folder.file(number).name, "record": record, "fault": fault}


def folder_of(settings: "Settings") -> Folder:
    """The spool's folder, which need not be there. Raises `WrongUsage` where `data_dir` can't be what was meant, and
    `QueueError` where a newer Forebay has made it.
    """
    data_dir = settings.data_dir
    if not data_dir.is_dir():
        raise WrongUsage(f"data_dir: there is no folder {data_dir}")
    folder = Folder(data_dir)
    if not folder.root.is_dir() and is_spool(data_dir):
        raise WrongUsage(f"data_dir: {data_dir} is a spool itself; name the folder that it stands in")
    folder.refuse_newer()
    return folder
