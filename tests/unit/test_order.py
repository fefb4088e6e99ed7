"""The judge of the end-to-end tests finds what is wrong."""

from pathlib import Path

import pytest

from tests.order import Book, Line, Verdict, judge

SENT = {"a": ["a1", "a2"], "b": ["b1"]}
GOOD = "began a1, began b1, ended a1, began a2, ended b1, ended a2"


def judged(book: str) -> Verdict:
    """The verdict about lines such as `began a1`; `began a1 2` is by the process 2."""
    words = [f"{text} 1".split() for text in book.split(", ")]
    return judge(
        SENT,
        [Line(number=n, what=w[0], portal=w[1][0], event=w[1], pid=int(w[2])) for n, w in enumerate(words)],
    )


def test_a_good_book_is_good() -> None:
    verdict = judged(GOOD)

    assert verdict.good
    assert not verdict.again


@pytest.mark.parametrize(
    ("book", "wrong"),
    [
        ("began a1, ended a1, began a2, ended a2, began b1", "lost"),
        (f"{GOOD}, began b2, ended b2", "unasked"),
        ("began a2, ended a2, began a1, ended a1, began b1, ended b1", "out_of_order"),
        ("began a1, began a2, ended a1, ended a2, began b1, ended b1", "at_once"),
        ("began a1, began a1 2, ended a1 2, began a2, ended a2, ended a1, began b1, ended b1", "at_once"),
    ],
)
def test_what_is_wrong_is_named(book: str, wrong: str) -> None:
    verdict = judged(book)

    assert not verdict.good
    assert [name for name in ("lost", "unasked", "out_of_order", "at_once") if getattr(verdict, name)] == [wrong]


def test_what_comes_again_is_told_and_is_not_wrong() -> None:
    verdict = judged(f"{GOOD}, began a1 2, ended a1 2")

    assert verdict.good
    assert [line.event for line in verdict.again] == ["a1"]


def test_an_event_that_was_dropped_and_came_again_is_no_overlap() -> None:
    verdict = judged(f"began a1, dropped a1, {GOOD}")

    assert verdict.good
    assert not verdict.again


def test_what_a_killed_process_had_under_way_is_no_overlap() -> None:
    verdict = judged("began a1, gone - 1, began a1 2, ended a1 2, began a2, ended a2, began b1, ended b1")

    assert verdict.good


def test_what_a_workers_own_process_had_under_way_that_never_writes_again_is_no_overlap() -> None:
    ended = "began a1, began a1 2, ended a1 2, began a2 2, ended a2 2, began b1 2, ended b1 2"

    assert judged(f"child - 1, {ended}").good
    assert not judged(f"child - 1, {ended}, ended a1").good
    assert not judged(ended).good


TAKEN = "taken a1, taken a2, began a1, ended a1, {}began b1 2, began a2 3, began a2, ended a2 3, ended a2, ended b1 2"


def test_what_a_call_begins_that_was_frozen_in_the_middle_is_no_overlap() -> None:
    assert judged(TAKEN.format("gone - 1, ")).good
    assert not judged(TAKEN.format("")).good
    assert not judged(TAKEN.format("gone - 2, ")).good


def test_what_another_process_has_under_way_is_one_all_the_same() -> None:
    verdict = judged("began a1, gone - 2, began a1 2, ended a1 2, began a2, ended a2, began b1, ended b1")

    assert [line.event for line in verdict.at_once] == ["a1"]


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    book = Book(path := tmp_path / "book")

    path.write_bytes(b"began a a1 1\nended a")
    assert [line.what for line in book.read().lines] == ["began"]
    path.write_bytes(b"began a a1 1\nended a a1 1\n")
    assert [line.what for line in book.read().lines] == ["began", "ended"]
    assert book.ended == {"a1"}
