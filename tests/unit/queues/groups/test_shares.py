from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.groups.shares import GroupView, share, to_claim, to_give_back


def view(me: str, members: set[str], *, free: set[int], held: set[int], partitions: int) -> GroupView:
    return GroupView(me=me, members=members, free=free, held=held, partitions=partitions)


@given(st.sets(st.text(min_size=1), min_size=1), st.integers(1, 200))
def test_the_shares_are_equal_and_are_all_there_is(members: set[str], partitions: int) -> None:
    shares = [share(view(me, members, free=set(), held=set(), partitions=partitions)) for me in members]

    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


def test_a_member_that_is_not_listed_yet_counts_itself() -> None:
    joining = view("b", {"a"}, free={0, 1, 2}, held=set(), partitions=4)

    assert share(joining) == 2
    assert to_claim(joining) == [0, 1]


def test_what_is_given_back_already_is_not_asked_for_twice() -> None:
    crowded = view("a", {"a", "b"}, free=set(), held={0, 1, 2, 3}, partitions=4)

    assert to_give_back(crowded, leaving=()) == [3, 2]
    assert to_give_back(crowded, leaving={3}) == [2]
    assert to_give_back(crowded, leaving={3, 2}) == []


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=6), st.integers(1, 20))
def test_a_group_settles_in_two_rounds_and_moves_no_more_than_it_must(
    generations: list[set[str]], partitions: int
) -> None:
    owned: dict[str, set[int]] = defaultdict(set)
    for members in generations:
        owned = defaultdict(set, {name: held for name, held in owned.items() if name in members})
        for _ in range(2):
            _round(owned, members, partitions)

        assert sorted(number for held in owned.values() for number in held) == list(range(partitions))
        sizes = [len(owned[name]) for name in members]
        assert max(sizes) - min(sizes) <= 1


def _round(owned: dict[str, set[int]], members: set[str], partitions: int) -> None:
    """Every member gives back what is too much, and then takes what is free."""
    for me in members:
        owned[me] -= set(to_give_back(view(me, members, free=set(), held=owned[me], partitions=partitions), ()))
    for me in members:
        free = set(range(partitions)) - {number for held in owned.values() for number in held}
        owned[me] |= set(to_claim(view(me, members, free=free, held=owned[me], partitions=partitions)))
