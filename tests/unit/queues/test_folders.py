"""Folders and files that are made, and what of them is on the disk when the first event is answered."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from forebay.ingest.callers.networks import Networks
from forebay.ingest.callers.published import Shelf
from forebay.ingest.gaps.book import own_book
from forebay.ingest.spool.folder import Folder
from forebay.processors.crashes.life import Life
from forebay.queues.folders import make_folder, write_whole
from forebay.queues.sql.sqlite.database import SqliteDatabase

MAKERS: dict[str, Callable[[Path], object]] = {
    "queue": lambda data_dir: SqliteDatabase(data_dir / "queue.db").create(),
    "spool": lambda data_dir: Folder(data_dir).make(),
    "gaps": lambda data_dir: own_book(data_dir / "gaps"),
    "workers": lambda data_dir: Life(data_dir / "workers").close(),
    "callers": lambda data_dir: Shelf(data_dir, "https://a.example").put(Networks([])),
}


class Synced:
    """The folders for which `fsync` was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._inodes: set[int] = set()
        monkeypatch.setattr(os, "fsync", lambda file: self._inodes.add(os.fstat(file).st_ino))

    def has(self, folder: Path) -> bool:
        return folder.stat().st_ino in self._inodes


@pytest.mark.parametrize("maker", MAKERS)
def test_the_name_of_each_folder_above_what_is_kept_is_durable(
    maker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, data_dir = Synced(monkeypatch), tmp_path / "srv" / "forebay"

    MAKERS[maker](data_dir)

    assert data_dir.is_dir()
    assert synced.has(tmp_path)
    assert synced.has(tmp_path / "srv")


@pytest.mark.parametrize("maker", MAKERS)
def test_not_everybody_may_put_another_file_in_the_place_of_ours(maker: str, tmp_path: Path) -> None:
    # As a handlers' module that sets the umask has it.
    before = os.umask(0)
    try:
        MAKERS[maker](tmp_path / "srv" / "forebay")
    finally:
        os.umask(before)

    made = [folder for folder in (tmp_path / "srv").rglob("*") if folder.is_dir()]
    assert made
    assert not [folder for folder in (tmp_path / "srv", *made) if folder.stat().st_mode & 0o002]


def test_what_is_there_already_costs_no_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = Synced(monkeypatch)

    make_folder(tmp_path)

    assert not synced.has(tmp_path)
    assert not synced.has(tmp_path.parent)


def test_a_folder_is_made_also_where_nothing_can_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cant(file: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", cant)

    make_folder(tmp_path / "a" / "b", 0o700)

    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_what_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "a")


def test_a_disk_that_is_full_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "made" / "file", b"before")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "made" / "file", b"after")

    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == {"file": b"before"}
