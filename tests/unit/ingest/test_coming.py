"""What is held of requests that are not whole yet."""

from forebay.ingest.coming import Coming

MIB = 1 << 20


class Someone:
    """Sends a request."""

    def __init__(self) -> None:
        self.is_given_up = False

    def give_up(self) -> None:
        self.is_given_up = True


def test_where_there_is_no_room_who_began_first_is_given_up() -> None:
    coming, senders = Coming(MIB), [Someone() for _ in range(100)]

    for _ in range(2):
        for sender in senders[:40]:
            coming.more(sender, MIB // 2)
    for sender in senders[40:]:
        coming.more(sender, MIB)

    # Of 64 MiB a little is what keeping the pieces takes.
    assert [sender.is_given_up for sender in senders] == [True] * 37 + [False] * 63


def test_what_is_whole_takes_no_room() -> None:
    coming, first = Coming(MIB), Someone()
    coming.more(first, MIB)

    for _ in range(100):
        coming.more(whole := Someone(), MIB)
        coming.over(whole)

    assert not first.is_given_up


def test_the_largest_bodies_have_room_beside_each_other() -> None:
    coming, senders = Coming(40 * MIB), [Someone() for _ in range(7)]

    for sender in senders:
        for _ in range(40):
            coming.more(sender, MIB)

    assert not any(sender.is_given_up for sender in senders)
