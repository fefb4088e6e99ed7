"""What a member does while partitions go, with a client that is made up."""

import asyncio
import time
from collections.abc import Sequence
from unittest.mock import Mock

import pytest
from confluent_kafka import TopicPartition

from forebay.queues.contract import Commit, PlacedRecord
from forebay.queues.kafka import rebalances as kafka_rebalances
from forebay.queues.kafka.inbox import Inbox
from forebay.queues.kafka.ownership import Holding, Ownership

from .memberships import OURS, STREAM, Client, Clients, User, commit_first, membership

#: Between two looks at what goes on in another thread.
_LOOK_S = 0.01


@pytest.fixture
def revoked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What became of a user's giving back, which never comes to its end by itself."""
    told = list[str]()

    async def give_back(self: User, partition: int) -> None:
        told.append("asked back")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    monkeypatch.setattr(User, "revoked", give_back, raising=False)
    # Long enough for a loop that is late to have begun with it.
    monkeypatch.setattr(Clients, "max_poll_s", 1.0)
    return told


async def test_who_does_not_give_a_partition_back_in_time_is_told_to_stop_and_has_lost_it(revoked: list[str]) -> None:
    with membership() as (_, clients, user, _):
        [client] = clients.made
        client.on["on_assign"](client, OURS)

        await asyncio.to_thread(client.on["on_revoke"], client, OURS)
        await asyncio.sleep(0)

    assert revoked == ["asked back", "cancelled"]
    assert user == ["assigned", "lost"]


async def test_a_commit_under_way_is_answered_before_a_partition_is_asked_back(revoked: list[str]) -> None:
    answers = list[object]()
    with membership() as (member, clients, _, _):
        [client] = clients.made
        client.on["on_assign"](client, OURS)
        # Its report would come to who polls.
        commit_first(member, lambda error: answers.append((error, list(revoked))))

        await asyncio.to_thread(client.on["on_revoke"], client, OURS)

    assert answers == [(None, [])]


async def test_a_partition_that_goes_while_it_is_paused_is_not_paused_when_it_comes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = list[str]()

    def say(what: str) -> None:
        def call(self: Client, partitions: Sequence[TopicPartition]) -> None:
            said.append(what)

        monkeypatch.setattr(Client, what, call)

    for what in ("pause", "resume", "incremental_unassign"):
        say(what)
    with membership() as (member, clients, _, _):
        [client] = clients.made
        client.on["on_assign"](client, OURS)
        member._client._pauses.pause(client, OURS)

        client.on["on_lost"](client, OURS)

    assert said == ["pause", "resume", "incremental_unassign"]


async def test_who_leaves_asks_nobody_where_to_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    with membership() as (member, clients, user, _):
        [client], asked = clients.made, Mock(return_value={})
        monkeypatch.setattr(kafka_rebalances, "starts", asked)
        member._commands.end()

        client.on["on_assign"](client, OURS)
        await asyncio.sleep(0)

    asked.assert_not_called()
    assert user == []


async def test_what_comes_while_we_leave_goes_on_to_others_before_all_is_given_back(revoked: list[str]) -> None:
    theirs = [TopicPartition(STREAM, 1)]
    with membership() as (member, clients, user, _):
        [client], rebalances = clients.made, member._client.rebalances
        client.on["on_assign"](client, OURS)
        member._commands.end()
        leaving = asyncio.create_task(asyncio.to_thread(rebalances.give_all_back, lambda left_s: time.sleep(_LOOK_S)))
        while "asked back" not in revoked:
            await asyncio.sleep(_LOOK_S)

        client.on["on_assign"](client, theirs)
        await asyncio.to_thread(client.on["on_revoke"], client, theirs)

        assert not leaving.done()
        assert (user, client.assignment()) == (["assigned"], OURS)
        await leaving


async def test_of_a_partition_that_is_asked_back_nothing_is_given_that_still_waits(revoked: list[str]) -> None:
    inbox, user = Inbox(lambda: None), User()
    ownership = Ownership(user, inbox, asyncio.Lock())  # type: ignore[arg-type]  # all that is called
    ownership.take_over({number: Holding(epoch=1, committed=Commit(offset=0)) for number in (0, 1)})
    for number in (0, 1):
        one = PlacedRecord(key="k", value=b"v", timestamp_ms=1, stream=STREAM, partition=number, offset=0)
        inbox.announce({number: [one]})
        inbox.put({number: [one]})

    returned = asyncio.create_task(ownership.give_back([0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert revoked == ["asked back"]
    assert [one.partition for one in await inbox.take(10, 0)] == [1]
    returned.cancel()


async def test_a_partition_is_given_back_behind_the_commits_that_were_called_before() -> None:
    committing = asyncio.Lock()

    class Quick(User):
        async def revoked(self, partition: int) -> None:
            """At once."""

    ownership = Ownership(Quick(), Inbox(lambda: None), committing)  # type: ignore[arg-type]  # all that is called
    ownership.take_over({0: Holding(epoch=1, committed=Commit(offset=0))})
    async with committing:
        returned = asyncio.create_task(ownership.give_back([0]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not returned.done()

    await returned
