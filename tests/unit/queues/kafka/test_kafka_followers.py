"""A member whose client can't go on, and what it owes to the one that follows."""

import asyncio
from itertools import count
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import PlacedRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import group_client as kafka_group_client
from forebay.queues.kafka import member as kafka_member
from forebay.queues.kafka import rebalances as kafka_rebalances
from tests.clock import Clock

from .memberships import OURS, STREAM, Client, commit_first, membership

#: More than an inbox takes.
FULL: Any = {"key": "", "value": bytes(16_000_000), "timestamp_ms": 1, "stream": STREAM, "partition": 0, "offset": 0}


async def test_a_client_that_closes_by_itself_takes_nothing_from_the_one_that_follows() -> None:
    with membership() as (member, clients, user, _):
        clients.made[0].on["on_assign"](clients.made[0], OURS)
        clients.made[0].strand()
        member._turn()
        stranded, follower = clients.made
        follower.on["on_assign"](follower, OURS)

        stranded.on["on_lost"](stranded, OURS)
        await asyncio.sleep(0)

        assert user == ["assigned", "lost", "assigned"]
        assert set(member._client.rebalances.ours) == {0}


async def test_a_client_that_was_left_takes_over_nothing_of_what_the_group_gave_it_before() -> None:
    with membership() as (member, clients, user, _):
        [left] = clients.made
        left.strand()
        member._turn()

        # It closes late, and hears only now what waited for it.
        left.on["on_assign"](left, OURS)
        await asyncio.sleep(0)
        assert user == []
        clients.made[1].on["on_assign"](clients.made[1], OURS)
        await asyncio.sleep(0)

    assert user == ["assigned"]


async def test_a_report_that_a_client_still_owed_is_not_missed_of_the_one_that_follows() -> None:
    with membership() as (member, clients, _, _):
        answers: list[object] = []
        for at in range(2):
            clients.made[at].on["on_assign"](clients.made[at], OURS)
            commit_first(member, answers.append)
            if at == 0:
                # A rebalance answers it otherwise, and its report would come later.
                member._client._commits.finish(clients.made[0], member._client.rebalances.ours)
                clients.made[0].strand()
                member._turn()

        clients.made[1].report(None, [TopicPartition(STREAM, 0, 1)])

        assert answers == [None, None]


@pytest.mark.parametrize("is_too_old", [False, True], ids=["stranded", "for old brokers"])
async def test_a_client_that_cannot_be_made_just_now_is_made_later(
    monkeypatch: pytest.MonkeyPatch, is_too_old: bool
) -> None:
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    with membership() as (member, clients, _, inbox):
        clients.in_the_way = 2
        if is_too_old:
            member._too_new = "the brokers can't do KIP-848"
        else:
            clients.made[0].strand()

        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 2
        with pytest.raises(QueueUnavailable, match=r"ssl\.ca\.location"):
            await inbox.take(1, 0)


async def test_what_a_client_that_closes_by_itself_complains_of_ends_none_that_follows() -> None:
    with membership() as (member, clients, user, inbox):
        clients.made[0].strand()
        member._turn()
        stranded, follower = clients.made
        follower.on["on_assign"](follower, OURS)

        stranded.complain(KafkaError(KafkaError.FENCED_INSTANCE_ID, "fenced", True))
        await asyncio.sleep(0)

        assert user == ["assigned"]
        assert await inbox.take(1, 0) == []


async def test_a_member_without_brokers_is_followed_also_while_it_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = count(1)

    def poll(self: Client, timeout: float) -> None:
        assert next(polls) < 10
        self.strand()

    monkeypatch.setattr(Client, "poll", poll)
    monkeypatch.setattr(kafka_group_client, "_PATIENCE_S", 0.0)
    with membership() as (member, clients, user, inbox):
        clients.made[0].on["on_assign"](clients.made[0], OURS)
        inbox.announce({0: [PlacedRecord(**FULL)]})

        member._turn()
        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 2
        assert user == ["assigned", "lost"]


async def test_a_client_to_which_nobody_says_where_to_begin_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = count(1)

    def committed(self: Client, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert next(asked) < 10
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    for constant in ("_QUIET_S", "_STRANDED_S"):
        monkeypatch.setattr(kafka_rebalances, constant, 0.0)
    monkeypatch.setattr(kafka_rebalances, "_RETRY_S", 0.001)
    with membership() as (member, clients, user, _):
        with monkeypatch.context() as silent:
            silent.setattr(Client, "committed", committed)
            clients.made[0].on["on_assign"](clients.made[0], OURS)
        for _ in range(2):
            # Told for as long as it lasts, whichever client it is.
            with pytest.raises(QueueUnavailable, match="offsets can't be read"):
                member.check()
            member._turn()
            await asyncio.sleep(0)

        clients.made[1].on["on_assign"](clients.made[1], OURS)
        member._turn()
        await asyncio.sleep(0)

        assert user == ["assigned"]
        member.check()


async def test_a_client_whose_clock_is_set_back_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class WallClock:
        def set_back_s(self) -> float:
            return 7200.0 if len(clients.made) == 1 else 0.0

    monkeypatch.setattr(kafka_group_client, "WallClock", WallClock)
    with membership() as (member, clients, user, _):
        clients.made[0].on["on_assign"](clients.made[0], OURS)

        member._turn()
        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 2
        assert user == ["assigned", "lost"]


def unreleased() -> KafkaError:
    return KafkaError(KafkaError._FATAL, KafkaError(KafkaError.UNRELEASED_INSTANCE_ID).str(), True)


async def test_a_member_comes_again_until_the_session_of_one_of_its_name_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    clock = Clock()
    with membership(clock) as (member, clients, _, inbox):
        for clock.now in (0.0, 44.0):
            clients.made[-1].complain(unreleased())
            member._turn()
            await asyncio.sleep(0)
            with pytest.raises(QueueUnavailable, match="group_instance_id"):
                await inbox.take(1, 0)

        assert len(clients.made) == 3
        clock.now = 46.0
        clients.made[-1].complain(unreleased())
        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 3
        for _ in range(2):
            with pytest.raises(QueueError, match="can't go on"):
                await inbox.take(1, 0)


async def test_a_client_that_follows_a_stranded_one_waits_anew_for_the_place_that_one_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    clock = Clock()
    with membership(clock) as (member, clients, _, inbox):
        clients.made[-1].complain(unreleased())
        member._turn()
        clock.now = 100.0
        clients.made[-1].strand()
        member._turn()

        clients.made[-1].complain(unreleased())
        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 4
        with pytest.raises(QueueUnavailable, match="group_instance_id"):
            await inbox.take(1, 0)
        assert await inbox.take(1, 0) == []
