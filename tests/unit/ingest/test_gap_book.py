"""The file in which a process writes down gaps."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.ingest.gaps.book import Book, _entry, left_books, own_book
from forebay.ingest.gaps.gap import Gap
from forebay.ingest.locks import FileLock

SMALL, LARGE = 1000, 8 << 20


def gap(portal: str, calls: int = 1) -> Gap:
    return Gap(portal=portal, member_id=None, endpoint="/bitrix24", verified=True, from_ms=1, to_ms=calls, calls=calls)


def opened(folder: Path, size: int = SMALL) -> Book:
    folder.mkdir(exist_ok=True)
    (lock := FileLock(folder / "gaps-0.lock")).take()
    return Book(lock, folder / "gaps-0", size)


def test_a_book_gives_back_what_was_written_last(tmp_path: Path) -> None:
    book, of_member = opened(tmp_path), replace(gap("c.ru"), member_id="a223c6b3710f85df", verified=False)
    for one in (gap("a.ru"), gap("b.ru"), gap("a.ru", 7), of_member, gap("b.ru", 0)):
        book.write(one)
    book.close()

    assert opened(tmp_path).gaps == [gap("a.ru", 7), of_member]


def test_a_book_of_any_length_is_read_as_far_as_something_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, size = opened(tmp_path, LARGE), len(_entry(gap("p0000.ru")))
    for number in range(5000):
        book.write(gap(f"p{number:04}.ru"))
    book.close()
    read, pread = list[int](), os.pread

    def counted(file: int, size: int, at: int) -> bytes:
        read.append(size)
        return pread(file, size, at)

    monkeypatch.setattr("os.pread", counted)

    assert len(opened(tmp_path, LARGE).gaps) == 5000
    assert 5000 * size <= sum(read) <= 5000 * size + 2 * 65_536


def test_a_book_begins_anew_when_nothing_that_stands_there_is_needed(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for number in range(100):
        book.write(gap(f"p{number}.ru"))
        book.write(gap(f"p{number}.ru", 0))
    book.write(gap("last.ru"))
    book.close()

    assert opened(tmp_path).gaps == [gap("last.ru")]


def test_a_book_that_is_full_keeps_what_it_has(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for number in range(100):
        book.write(gap(f"p{number:02}.ru"))
    book.write(gap("p00.ru", 5))
    book.close()

    found = opened(tmp_path).gaps
    assert found[0] == gap("p00.ru", 5)
    assert 5 < len(found) < SMALL / 40
    assert (tmp_path / "gaps-0").stat().st_size == SMALL


@pytest.mark.parametrize(("at", "left"), [(0, "bc"), (20, "bc"), (47, "ac"), (80, "ac"), (100, "ab"), (130, "ab")])
def test_what_a_power_cut_has_torn_costs_nothing_beside_it(tmp_path: Path, at: int, left: str) -> None:
    book = opened(tmp_path)
    for name in "abc":
        book.write(gap(f"{name}.ru"))
    book.close()
    content = bytearray((tmp_path / "gaps-0").read_bytes())
    content[at] ^= 0xFF
    (tmp_path / "gaps-0").write_bytes(content)

    found = opened(tmp_path).gaps

    assert found == [gap(f"{name}.ru") for name in left]


def test_what_is_written_behind_something_torn_is_read_again(tmp_path: Path) -> None:
    book, size = opened(tmp_path), len(_entry(gap("a.ru")))
    for name in "abc":
        book.write(gap(f"{name}.ru"))
    book.close()
    path = tmp_path / "gaps-0"
    path.write_bytes(path.read_bytes()[:size] + b"\xff" * 4 + path.read_bytes()[size + 4 :])

    again = opened(tmp_path)
    again.write(gap("b.ru", 2))
    again.write(gap("d.ru"))
    again.close()

    assert opened(tmp_path).gaps == [gap("a.ru"), gap("c.ru"), gap("b.ru", 2), gap("d.ru")]


def test_a_length_that_makes_no_sense_ends_the_book(tmp_path: Path) -> None:
    book = opened(tmp_path)
    for name in "ab":
        book.write(gap(f"{name}.ru"))
    book.close()
    content = bytearray((tmp_path / "gaps-0").read_bytes())
    content[4:6] = b"\xff\xff"
    (tmp_path / "gaps-0").write_bytes(content)

    assert opened(tmp_path).gaps == []


def test_a_book_that_was_not_closed_is_somebodys_as_long_as_its_process_lives(tmp_path: Path) -> None:
    first = own_book(tmp_path)
    second = own_book(tmp_path)

    left = list(left_books(tmp_path))

    assert first and second and first.path != second.path
    assert left == []
    first.close()
    second.close()


def test_a_book_for_which_there_is_no_space_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    before = os.listdir("/proc/self/fd")

    assert own_book(tmp_path) is None

    assert os.listdir("/proc/self/fd") == before


def test_where_nobody_has_noted_anything_nothing_is_left(tmp_path: Path) -> None:
    assert list(left_books(tmp_path / "gaps")) == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("gaps-x", "gaps-1.old", "notes"):
        (tmp_path / name).write_text("mine")

    assert list(left_books(tmp_path)) == []


def test_without_a_folder_that_can_be_made_there_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert own_book(tmp_path / "file" / "gaps") is None


def test_what_is_written_after_the_end_goes_into_no_other_file(tmp_path: Path) -> None:
    book = opened(tmp_path)
    book.close()
    # New files get the lowest number that is free.
    others = [(tmp_path / f"other-{number}").open("wb") for number in range(3)]

    with pytest.raises(OSError, match="Bad file descriptor"):
        book.write(gap("a.ru"))

    for other in others:
        other.close()
        assert Path(other.name).read_bytes() == b""
