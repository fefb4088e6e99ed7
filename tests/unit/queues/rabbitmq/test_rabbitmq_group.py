"""What the members of a group agree on, entry by entry."""

from collections.abc import Sequence

import orjson
import pytest

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.rabbitmq import group as entries
from forebay.queues.rabbitmq.chronicle import Chronicle
from forebay.queues.rabbitmq.consumer import NOTE_BYTES
from forebay.queues.rabbitmq.group import Group, Owner
from forebay.queues.rabbitmq.logs import birth, entry, group_arguments
from forebay.queues.rabbitmq.records import MAX_RECORD_BYTES
from forebay.queues.settings import QueueSettings


def applied(*told: bytes) -> Group:
    """The group after these entries, the first of them at offset 1."""
    group = Group()
    for offset, one in enumerate(told, 1):
        group.apply(offset, orjson.loads(one))
    return group


def beat(who: str) -> bytes:
    return entries.beat(who, 1000, 0, 1)


def test_of_two_claims_the_first_holds() -> None:
    group = applied(beat("a"), beat("b"), entries.claim("a", [0, 1]), entries.claim("b", [1, 2]))

    assert group.owners == {0: Owner("a", 3), 1: Owner("a", 3), 2: Owner("b", 4)}


def test_who_is_no_member_claims_nothing() -> None:
    assert applied(entries.claim("a", [0])).owners == {}


def test_a_commit_of_who_owns_the_partition_counts() -> None:
    commits = {0: Commit(offset=7, note=b"\x00\xff"), 1: Commit(offset=9)}

    group = applied(beat("a"), entries.claim("a", [0, 1]), entries.commit("a", 1, {0: 2, 1: 2}, commits))

    assert group.commits == commits


def test_a_late_commit_of_who_has_lost_the_partition_has_no_effect() -> None:
    group = applied(beat("a"), entries.claim("a", [0]), entries.miss("a", 1), beat("b"), entries.claim("b", [0]))

    changed = group.apply(6, orjson.loads(entries.commit("a", 1, {0: 2}, {0: Commit(offset=7)})))

    assert changed == set()
    assert group.commits == {}
    assert group.owners == {0: Owner("b", 5)}


def test_a_second_copy_of_an_earlier_commit_moves_nothing_back() -> None:
    early = entries.commit("a", 1, {0: 2}, {0: Commit(offset=7)})
    late = entries.commit("a", 2, {0: 2}, {0: Commit(offset=5000, note=b"late")})
    group = applied(beat("a"), entries.claim("a", [0]), early, late)
    again = Group.unpacked(orjson.loads(group.packed(5)))

    for one in (group, again):
        # It is told as stored: what came behind it counts in its place.
        assert one.apply(5, orjson.loads(early)) == {0}
        assert one.commits == {0: Commit(offset=5000, note=b"late")}


def test_a_member_may_commit_less_than_before() -> None:
    more, less = (entries.commit("a", number, {0: 2}, {0: Commit(offset=9 - number)}) for number in (1, 2))

    assert applied(beat("a"), entries.claim("a", [0]), more, less).commits == {0: Commit(offset=7)}


def test_a_late_commit_of_an_earlier_time_of_ours_has_no_effect() -> None:
    released = entries.release("a", {0: 2})

    group = applied(beat("a"), entries.claim("a", [0]), released, entries.claim("a", [0]))

    assert group.apply(5, orjson.loads(entries.commit("a", 1, {0: 2}, {0: Commit(offset=7)}))) == set()
    assert group.apply(6, orjson.loads(released)) == set()
    assert group.owners == {0: Owner("a", 4)}


def test_who_gave_a_sign_meanwhile_is_not_missed() -> None:
    group = applied(beat("a"), entries.claim("a", [0]), beat("a"), entries.miss("a", 1))

    assert group.owners == {0: Owner("a", 2)}


def test_who_leaves_owns_nothing() -> None:
    group = applied(beat("a"), entries.claim("a", [0]), entries.leave("a"))

    assert (group.members, group.owners) == ({}, {})


_STORY = [
    birth(),
    beat("a"),
    beat("b"),
    entries.claim("a", [0, 1]),
    entries.claim("b", [2]),
    entries.commit("a", 1, {0: 3}, {0: Commit(offset=5, note=b"five")}),
    entries.leave("b"),
    entries.commit("a", 2, {1: 3}, {1: Commit(offset=6)}),
]


def _read(story: Sequence[bytes], first: int = 0) -> Chronicle:
    chronicle = Chronicle()
    for offset, told in enumerate(story[first:], first):
        chronicle.read(offset, told if told == birth() else entry(b"12345678", offset, told))
    return chronicle


def test_a_reader_without_the_beginning_comes_to_the_same_with_a_state() -> None:
    whole = _read(_STORY).group
    # Written by one who had read up to the offset 4, and so before the last two.
    state = _read(_STORY[:5]).group.packed(5)
    story = [*_STORY[:7], state, *_STORY[7:]]

    assert _read(story, first=5).group == whole
    assert _read(story).group == whole


def test_a_state_that_lacks_what_is_not_there_any_more_is_none() -> None:
    state = _read(_STORY[:3]).group.packed(3)

    chronicle = _read([*_STORY, state], first=6)

    with pytest.raises(QueueUnavailable, match=r"queue: .* lacks its beginning"):
        chronicle.check("queue")


def test_what_is_whole_or_empty_lacks_nothing() -> None:
    for story in ([], _STORY):
        _read(story).check("queue")


def test_a_wish_for_a_state_is_open_until_one_who_has_read_it_writes_one() -> None:
    story = [*_STORY, entries.ask("c")]
    early, late = _read(_STORY).group.packed(8), _read(story).group.packed(9)

    assert not _read(_STORY).is_asked
    assert _read(story).is_asked
    assert _read([*story, early]).is_asked
    assert not _read([*story, early, late]).is_asked
    # Also for one that began with a state: who was to answer may have died.
    assert _read([*_STORY, early, entries.ask("c")], first=8).is_asked


def test_two_who_answer_say_the_same() -> None:
    story = [*_STORY, entries.ask("c")]
    states = [_read(story).group.packed(9), beat("c"), _read(story).group.packed(9)]

    found = _read([*story, *states], first=7)

    assert found.group == _read([*story, *states]).group
    assert "c" in found.group.members


def test_what_a_state_has_swallowed_is_told_without_what_it_did() -> None:
    told: list[tuple[str, set[int] | None]] = []
    chronicle = Chronicle(lambda offset, one, changed: told.append((one["do"], changed)))

    for offset, one in enumerate([*_STORY[5:], _read(_STORY[:7]).group.packed(7)], 5):
        chronicle.read(offset, entry(b"12345678", offset, one))

    assert told == [("commit", None), ("leave", None), ("commit", {1}), ("state", set())]


@pytest.mark.parametrize("partitions", [1, 12, 1000])
def test_a_groups_stream_holds_some_states_with_the_longest_notes_of_all(partitions: int) -> None:
    commits = {number: Commit(offset=10**12, note=b"x" * NOTE_BYTES) for number in range(partitions)}
    owners = {number: Owner("host.example.com-1234-12345678", 10**9, 10**9) for number in range(partitions)}

    state = Group(owners=owners, commits=commits).packed(10**9)

    assert 10 * len(state) < group_arguments(partitions)["x-max-length-bytes"]
    assert len(state) < MAX_RECORD_BYTES


async def test_more_partitions_than_a_group_can_speak_of_are_refused() -> None:
    queue = open_queue(QueueSettings(queue_url="amqp://localhost:1"))

    with pytest.raises(QueueError, match=r"partitions: 1001; .* 1000 at most"):
        await queue.ensure(["events"], 1001)


def test_what_is_none_of_ours_is_passed_over() -> None:
    chronicle = Chronicle()

    for offset, body in enumerate([b"", b"junk", birth(), entry(b"12345678", 1, beat("a"))]):
        chronicle.read(offset, body)

    assert list(chronicle.group.members) == ["a"]
