"""The log of a spool file that a killed host leaves, and what a disk does to it before the next start."""

import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from forebay.ingest.spool.wal import Mended, mend
from tests.spool.stores import Stores, kept, put

#: Of SQLite's log: its header, and a frame with its page.
_HEADER, _FRAME = 32, 24 + 4096

_RECORDS = 8


class Left:
    """What a host leaves that was killed: its spool with a log in which each record was a transaction."""

    def __init__(self, killed: Path, then: Path) -> None:
        self._killed, self._then = killed, then

    @property
    def log(self) -> bytes:
        return self._path(self._killed, "-wal").read_bytes()

    def started(self, log: bytes, *, has_index: bool = True) -> list[bytes]:
        """The records that a host finds which starts after its disk has made this of the log; b"?" for damaged ones."""
        shutil.rmtree(self._then, ignore_errors=True)
        shutil.copytree(self._killed, self._then)
        self._path(self._then, "-wal").write_bytes(log)
        if not has_index:
            self._path(self._then, "-shm").unlink()
        stores = Stores(self._then)
        try:
            store = stores.open()
            found = store.load([head.seq for head in store.heads(0, 100) if head.key])
            return [one.record.value.strip() if one.is_whole else b"?" for one in found]
        finally:
            stores.close()

    @staticmethod
    def _path(data_dir: Path, suffix: str) -> Path:
        return data_dir / "spool" / f"spool-000001.db{suffix}"


@pytest.fixture
def left(stores: Stores, tmp_path: Path) -> Left:
    store = stores.open()
    for number in range(_RECORDS):
        store.put([put(number, f"portal{number}.ru", size=300)])
    shutil.copytree(stores.folder.root.parent, tmp_path / "killed")
    return Left(tmp_path / "killed", tmp_path / "then")


ALL = [str(number).encode() for number in range(_RECORDS)]


@pytest.mark.parametrize("has_index", [True, False])
def test_a_changed_bit_of_the_log_costs_nothing_but_perhaps_the_record_that_it_is_in(
    left: Left, has_index: bool
) -> None:
    log, rng = left.log, Random(1)
    of_heads = [_HEADER + at * _FRAME + rng.randrange(24) for at in range((len(log) - _HEADER) // _FRAME)]
    places = [*range(_HEADER), *of_heads, *(rng.randrange(len(log)) for _ in range(100))]
    worse = {}

    for place in places:
        bit = rng.randrange(8)
        changed = log[:place] + bytes([log[place] ^ 1 << bit]) + log[place + 1 :]
        found = left.started(changed, has_index=has_index)
        if len(found) < _RECORDS or found.count(b"?") > 1:
            worse[f"byte {place}, bit {bit}"] = found

    assert not worse


def of_the_middle(log: bytes) -> slice:
    return slice(len(log) // 2 // 4096 * 4096, (len(log) // 2 // 4096 + 1) * 4096)


def of_the_beginning(log: bytes) -> slice:
    return slice(_HEADER, _HEADER + 2 * _FRAME)


def of_the_end(log: bytes) -> slice:
    return slice(len(log) - 100, len(log) - 20)


@pytest.mark.parametrize("where", [of_the_middle, of_the_beginning, of_the_end])
def test_a_lost_block_of_the_log_costs_nothing_that_came_later(left: Left, where: Callable[[bytes], slice]) -> None:
    log = bytearray(left.log)
    gone = where(left.log)
    log[gone] = bytes(gone.stop - gone.start)

    found = left.started(bytes(log))

    assert found[-1] == ALL[-1] or where is of_the_end
    assert found[: _RECORDS - 1] == ALL[: _RECORDS - 1]


def test_what_was_cut_off_by_the_crash_is_left_as_it_is(left: Left) -> None:
    log = left.log
    torn = log[-_FRAME:]

    assert left.started(log + torn[: _FRAME // 2]) == ALL
    assert left.started(log + torn[:24] + bytes(4096)) == ALL


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A killed one, whose log has pages of transactions that were rolled back behind those of later, smaller ones."""
    opened = sqlite3.connect(tmp_path / "opened", isolation_level=None)
    with closing(opened):
        opened.execute("PRAGMA journal_mode = WAL")
        opened.execute("PRAGMA cache_size = 5")
        opened.execute("CREATE TABLE number (value BLOB)")
        for rows in (40, 30):
            opened.execute("BEGIN")
            opened.executemany("INSERT INTO number VALUES (?)", [(bytes([rows]) * 2000,) for _ in range(rows)])
            opened.execute("ROLLBACK")
            opened.execute("INSERT INTO number VALUES (x'01')")
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{tmp_path / 'opened'}{suffix}", f"{tmp_path / 'killed'}{suffix}")
    return tmp_path / "killed"


def test_pages_of_a_transaction_that_was_rolled_back_are_not_taken_for_damaged_ones(database: Path) -> None:
    log = Path(f"{database}-wal")
    before = log.read_bytes()

    assert mend(database) == Mended()
    assert log.read_bytes() == before
    Path(f"{database}-shm").unlink()
    assert mend(database) == Mended()
    assert log.read_bytes() == before


def test_pages_that_were_rolled_back_stay_so_where_one_before_them_was_damaged(database: Path) -> None:
    log = Path(f"{database}-wal")
    octets = bytearray(log.read_bytes())
    frames = (len(octets) - _HEADER) // _FRAME
    octets[_HEADER + 24 + 4090] ^= 0xFF
    log.write_bytes(octets)

    assert mend(database).left_out == 1

    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("PRAGMA wal_checkpoint").fetchone()[1] < frames // 2


def test_pages_that_were_rolled_back_stay_so_where_the_last_one_before_them_is_lost(database: Path) -> None:
    log, index = Path(f"{database}-wal"), Path(f"{database}-shm").read_bytes()
    committed = int.from_bytes(index[16:20], sys.byteorder)
    octets = bytearray(log.read_bytes())
    lost = _HEADER + (committed - 1) * _FRAME
    octets[lost : lost + 24] = bytes(24)
    log.write_bytes(octets)

    assert mend(database).left_out == 1

    assert log.read_bytes()[lost + _FRAME :] == octets[lost + _FRAME :]
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("PRAGMA wal_checkpoint").fetchone()[1] == committed


def test_a_log_of_which_nothing_can_be_known_is_left_alone(tmp_path: Path) -> None:
    assert mend(tmp_path / "none") == Mended()
    for octets in (b"", b"short", bytes(100_000), Random(1).randbytes(100_000)):
        Path(tmp_path / "log-wal").write_bytes(octets)
        assert mend(tmp_path / "log") == Mended()
        assert Path(tmp_path / "log-wal").read_bytes() == octets


@pytest.mark.parametrize("records_a_life", [200, 10], ids=["long lives", "crash after crash"])
def test_what_is_read_after_a_crash_stays_small_when_each_record_is_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records_a_life: int
) -> None:
    bound = 128 << 10
    monkeypatch.setattr("forebay.ingest.spool.file._CHECKPOINT_BYTES", bound)
    folder = tmp_path / "0"

    for life in range(200 // records_a_life):
        stores = Stores(folder)
        both = stores.open(), stores.open()
        for number in range(records_a_life):
            kept(both[number % 2].put([put(number)]))
        # As a crash leaves it: who closes the last connection moves the log himself.
        folder = tmp_path / str(life + 1)
        shutil.copytree(stores.folder.root.parent, folder)
        stores.close()

    # Each moves it when its own transactions make so much; pages of the tree come beside those that are counted.
    assert (folder / "spool" / "spool-000001.db-wal").stat().st_size < 2 * 2 * bound
