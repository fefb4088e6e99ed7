"""A host that dies, and leaves a spool whose files are torn or changed."""

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.ingest.spool.file import RECORDS_A_FILE
from forebay.schemas.codec import codec
from tests.kafka.cluster import Cluster

from .hosts import folder_of, kill_all
from .stand import LONG, Stand

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(600)]

#: Of a frame of SQLite's log: its header, and the page.
_FRAME = 24 + 4096
#: Before the first of them.
_LOG_HEADER = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A record whose bytes were changed: its number in the spool, and the event's id."""

    seq: int
    id: str


def newest(folder: Path) -> Path:
    """The file that was written to last."""
    return max(folder.glob("spool-*.db"))


def tear(folder: Path) -> list[Changed]:
    """Leave what a crash in the middle of a write leaves: half a frame behind the last one."""
    log = Path(f"{newest(folder)}-wal")
    whole = log.read_bytes()
    frames = (len(whole) - _LOG_HEADER) // _FRAME
    last = _LOG_HEADER + (frames - 1) * _FRAME
    with log.open("ab") as file:
        file.write(whole[last : last + _FRAME // 2])
    return []


def flip(folder: Path) -> list[Changed]:
    """Change one bit of the last record, in the file itself."""
    path = newest(folder)
    opened = sqlite3.connect(path)
    try:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        [(seq, value)] = opened.execute("SELECT seq, value FROM record ORDER BY seq DESC LIMIT 1").fetchall()
    finally:
        opened.close()
    whole = bytearray(path.read_bytes())
    at = whole.index(value) + len(value) // 2
    whole[at] ^= 1
    path.write_bytes(whole)
    return [Changed(seq=seq, id=codec().decode(value).id)]


def flip_in_log(folder: Path) -> list[Changed]:
    """Change one bit in the middle of what was written last, and is not in the file yet."""
    log = Path(f"{newest(folder)}-wal")
    octets = bytearray(log.read_bytes())
    octets[len(octets) // 2] ^= 1
    log.write_bytes(octets)
    return []


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("half a frame behind the log's end", tear),
        ("one bit of the log changed", flip_in_log),
        ("one bit of the last record changed", flip),
    ],
)
async def test_a_damaged_file_of_the_spool_costs_nothing_that_was_acknowledged(
    clusters: Callable[..., Cluster],
    stands: Callable[..., Stand],
    what: str,
    damage: Callable[[Path], list[Changed]],
) -> None:
    cluster = clusters()
    stand = stands(cluster.url, LONG)
    await stand.start()

    async with stand.loaded(), stand.fault():
        await asyncio.to_thread(cluster.nodes[0].stop, signal.SIGKILL)
        await stand.meanwhile()
        await asyncio.to_thread(kill_all, stand.site)
        changed = damage(folder_of(stand.site))
        stand.site.start("ingest", "ingest", "--processes", str(stand.processes))
        await asyncio.to_thread(stand.site.wait, "the ingest", stand.site.is_ready)
        cluster.nodes[0].start()

    row = await stand.judged(
        f"spool: kill -9 of the whole ingest, and {what}",
        bound=LONG.connections,
        aside={f"spool-{one.seq}": one.id for one in changed},
        note="what may stand twice was under way to the broker when that was killed"
        + ("; the changed record is in quarantine as damaged_in_spool" if changed else ""),
    )
    assert row.refused == 0
    assert all(one.seq > RECORDS_A_FILE for one in changed)
