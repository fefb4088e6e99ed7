"""A member whose client met a fatal error, or was left: what it owes, and what it must not do any more."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import member as kafka_member

from .memberships import OURS, Client, commit_first, membership


def fatal(code: int) -> KafkaError:
    return KafkaError(KafkaError._FATAL, KafkaError(code).str(), True)


async def test_a_member_that_was_fenced_fences_nobody_in_turn() -> None:
    with membership() as (member, clients, user, inbox):
        [client] = clients.made
        client.on["on_assign"](client, OURS)
        client.complain(fatal(KafkaError.FENCED_INSTANCE_ID))

        client.strand()
        member._turn()
        await asyncio.sleep(0)

        assert len(clients.made) == 1
        assert user == ["assigned", "lost"]
        with pytest.raises(QueueError, match="group_instance_id"):
            await inbox.take(1, 0)


@pytest.mark.parametrize("code", [KafkaError.UNSUPPORTED_VERSION, KafkaError.UNRELEASED_INSTANCE_ID])
async def test_a_commit_is_answered_though_another_client_follows_before_its_report(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    with membership() as (member, clients, _, _):
        clients.asked_protocol = None
        [client], answers = clients.made, list[object]()
        client.on["on_assign"](client, OURS)
        commit_first(member, answers.append)
        client.on["on_lost"](client, OURS)

        client.complain(fatal(code))
        member._turn()

        assert len(clients.made) == 2
        assert list(map(type, answers)) == [QueueUnavailable]


async def test_a_member_whose_brokers_became_too_old_has_lost_what_it_had() -> None:
    with membership() as (member, clients, user, _):
        clients.asked_protocol = None
        [client] = clients.made
        client.on["on_assign"](client, OURS)

        client.complain(fatal(KafkaError.UNSUPPORTED_VERSION))
        member._turn()
        await asyncio.sleep(0)
        clients.made[1].on["on_assign"](clients.made[1], OURS)
        await asyncio.sleep(0)

    assert user == ["assigned", "lost", "assigned"]


async def test_a_client_that_was_left_is_closed_once_also_when_none_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    with membership() as (member, clients, _, _):
        closed = list[Client]()

        def close(self: Client) -> None:
            closed.append(self)
            # Just now the user closes the consumer.
            member._commands.end()

        monkeypatch.setattr(Client, "close", close)
        clients.made[0].strand()
        member._turn()

        member._poll_to_the_end()
        await member.stop()

        assert closed == clients.made
