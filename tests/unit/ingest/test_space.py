"""Space on the disk, also on a system that can't promise any: macOS knows no posix_fallocate."""

import os
import resource
from pathlib import Path

import pytest

from forebay.ingest.open_files import allow_many
from forebay.ingest.space import take_space
from forebay.ingest.spool.owners import Owners
from tests.spool.stores import Stores, kept, numbers, put

#: What a Mac may let a process have (kern.maxfilesperproc), though the hard limit says that there is none.
MACS_MOST = 24_576


@pytest.fixture(params=[True, False], ids=["with", "without"])
def knows_how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the system has the call."""
    if not request.param:
        monkeypatch.delattr(os, "posix_fallocate")


@pytest.mark.usefixtures("knows_how")
def test_a_file_gets_longer_and_never_shorter_and_keeps_what_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    with path.open("r+b") as opened:
        take_space(opened.fileno(), 0, 2)
        assert path.read_bytes() == b"kept"
        take_space(opened.fileno(), 4, 6)

    assert path.read_bytes() == b"kept" + bytes(6)


@pytest.mark.usefixtures("knows_how")
def test_what_was_spooled_is_kept_and_who_has_sent_it_can_tell(stores: Stores) -> None:
    store = stores.open()
    owner = store.owner
    gone, _ = kept(store.put([put(1, owner=owner.name), put(2)]))
    owner.tell(gone, is_gone=True)
    (owners := Owners(stores.folder)).look(owner.name, 0)

    assert numbers(stores.open()) == [b"1", b"2"]
    assert owners.is_gone(owner.name, gone) is True


def test_where_the_limit_of_open_files_is_lower_than_it_says_many_may_be_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[int, int]] = []

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        if limits[0] > MACS_MOST:
            raise ValueError("current limit exceeds maximum limit")
        given.append(limits)

    monkeypatch.setattr("resource.getrlimit", lambda which: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr("resource.setrlimit", setrlimit)

    allow_many()

    assert given == [(10_240, resource.RLIM_INFINITY)]
