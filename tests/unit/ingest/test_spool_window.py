"""How much of the spool is under way to the queue, and how that is shared among the queue's parts."""

from collections.abc import Iterable

from forebay.ingest.spool.kept import Head
from forebay.ingest.spool.window import MOST, Window

MIB = 1 << 20


def window() -> Window:
    return Window(lambda portal: portal[0])


def heads(numbers: Iterable[int], portal: str = "a.ru", size: int = 1) -> list[Head]:
    return [Head(seq=seq, key=portal, size=size, timestamp_ms=0, owner=None) for seq in numbers]


def begin(window: Window, heads: Iterable[Head], *, is_try: bool = False) -> None:
    for head in heads:
        window.add(head, is_try=is_try)


def remove(window: Window, heads: Iterable[Head]) -> None:
    for head in heads:
        window.remove(head)


def begun(window: Window, heads: Iterable[Head]) -> list[Head]:
    """Those whose part of the queue has not enough under way."""
    begun = []
    for head in heads:
        if not window.keeps_waiting(head):
            window.add(head, is_try=False)
            begun.append(head)
    return begun


def test_a_step_begins_a_part_of_what_may_be_under_way_and_the_last_one_what_is_left_of_it() -> None:
    spool = window()

    fresh = spool.room(7.0, is_trying=False)
    begin(spool, first := heads(range(MOST - 10)))
    left = spool.room(7.0, is_trying=False), spool.room(7.0, is_trying=True)
    remove(spool, first[:3])

    assert fresh == MOST // 4
    assert left == (10, 10)
    assert spool.room(7.0, is_trying=False) == 13


def test_a_queue_that_may_be_gone_gets_a_few_tries_and_as_many_more_each_second() -> None:
    spool = window()

    fresh = spool.room(7.0, is_trying=True)
    begin(spool, heads(range(100)))
    begin(spool, first := heads(range(100, 116)), is_try=True)
    tried = spool.room(7.99, is_trying=True)
    remove(spool, first[:2])
    came_back = spool.room(7.99, is_trying=True)
    a_second_later = spool.room(8.0, is_trying=True)
    begin(spool, heads(range(200, 216)), is_try=True)

    assert (fresh, tried, came_back, a_second_later) == (16, 0, 2, 16)
    assert (spool.room(8.99, is_trying=True), spool.room(9.0, is_trying=True)) == (0, 16)


def test_nothing_more_is_begun_when_what_is_under_way_is_large() -> None:
    spool = window()

    begin(spool, [*heads(range(15), "a.ru", MIB), *heads([15], "b.ru", MIB - 1)])
    nearly = spool.is_full
    begin(spool, last := heads([16], "b.ru", 1))
    full = spool.is_full
    remove(spool, last)

    assert (nearly, full, spool.is_full) == (False, True, False)


def test_a_part_of_the_queue_has_half_of_the_places_and_the_next_half_of_what_is_left() -> None:
    spool = window()
    begin(spool, heads([5000], "c.ru"))

    first = begun(spool, of_a := heads(range(2000), "a.ru"))
    second = begun(spool, heads(range(2000, 2000 + MOST // 4), "b.ru"))
    one_more = begun(spool, last := heads([4000], "b.ru"))
    freed_by_none = list(spool.freed())
    remove(spool, second[:1])
    freed_by_one_of_it = list(spool.freed())
    remove(spool, second[1:])
    freed_by_all_of_it = list(spool.freed())
    remove(spool, first[:2])

    assert (len(first), len(second), one_more) == (MOST // 2, MOST // 4, [])
    assert (freed_by_none, freed_by_one_of_it, freed_by_all_of_it) == ([], last, [])
    assert list(spool.freed()) == of_a[1024:1027], "in their order, and no more than have room"


def test_what_waits_for_the_others_is_known_when_nothing_of_its_part_is_under_way_any_more() -> None:
    spool = window()
    begin(spool, heads(range(MOST - 1)))
    begin(spool, only := heads([5000], "c.ru"))

    waits = begun(spool, behind := heads([5001], "c.ru")) == []
    remove(spool, only)

    assert waits and list(spool.freed()) == behind


def test_a_part_of_the_queue_has_half_of_the_bytes_and_the_next_half_of_what_is_left() -> None:
    spool = window()

    first = begun(spool, of_a := heads(range(20), "a.ru", MIB))
    second = begun(spool, of_b := heads(range(20, 40), "b.ru", MIB))
    freed_by_none = list(spool.freed())
    remove(spool, first[:1])
    freed_by_one_of_a = list(spool.freed())
    remove(spool, second)

    assert (first, second, freed_by_none, freed_by_one_of_a) == (of_a[:8], of_b[:4], [], of_b[4:])
    assert list(spool.freed()) == of_a[8:]
