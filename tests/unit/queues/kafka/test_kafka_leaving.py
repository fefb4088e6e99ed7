"""The end of a member, and of a client that another one follows."""

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs

from forebay.queues.errors import Fenced, QueueError
from forebay.queues.kafka import member as kafka_member

from .memberships import OURS, STREAM, Client, Clients, User, commit_first, membership


@pytest.mark.parametrize("code", [KafkaError.UNSUPPORTED_VERSION, KafkaError.UNRELEASED_INSTANCE_ID])
async def test_what_a_client_complains_of_while_it_leaves_is_no_reason_to_leave_again(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    error = KafkaError(KafkaError._FATAL, KafkaError(code).str(), True)
    monkeypatch.setattr(kafka_member, "_AGAIN_S", 0.01)
    monkeypatch.setattr(Clients, "asked_protocol", None)
    with membership() as (member, clients, _, _):
        monkeypatch.setattr(Client, "close", lambda self: self.complain(error))
        clients.made[0].complain(error)

        member._turn()
        member._turn()

        assert len(clients.made) == 2


async def test_that_a_partition_could_not_be_given_back_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: User, partition: int) -> None:
        raise RuntimeError("an error of the user's own")

    monkeypatch.setattr(User, "revoked", fail, raising=False)
    monkeypatch.setattr(Client, "close", lambda self: self.on["on_revoke"](self, OURS))
    with membership() as (member, clients, _, _), capture_logs() as logs:
        clients.made[0].on["on_assign"](clients.made[0], OURS)

        member.start()
        await member.stop()

    assert [one["error"] for one in logs] == ["an error of the user's own"]


async def test_a_member_that_is_to_end_makes_no_client_any_more() -> None:
    with membership() as (member, clients, _, _):
        clients.in_the_way = 1
        clients.made[0].strand()

        member._commands.end()
        member.start()
        async with asyncio.timeout(10):
            await member.stop()

        assert len(clients.made) == 1


@pytest.mark.parametrize(
    "error",
    [
        KafkaException(KafkaError(KafkaError._FAIL)),
        TypeError("an error of our own"),
        # As a rebalance that fails raises it.
        KafkaError(KafkaError._INVALID_ARG),
    ],
)
async def test_a_thread_that_an_error_ends_says_so(
    monkeypatch: pytest.MonkeyPatch, error: Exception | KafkaError
) -> None:
    def fail(self: Client, timeout: float) -> None:
        raise error  # type: ignore[misc]  # Python lets it be raised, though it is no exception

    with membership() as (member, _, _, inbox):
        monkeypatch.setattr(Client, "poll", fail)

        member.start()

        for _ in range(2):
            # However often it is asked: nothing comes any more.
            with pytest.raises(QueueError, match="the consumer ended"):
                await inbox.take(1, 10)
        await member.stop()


async def test_a_commit_whose_partition_was_lost_before_its_report_came_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent, answers = list[bool](), list[object]()
    with membership() as (member, clients, _, _):
        [client] = clients.made
        monkeypatch.setattr(client, "commit", lambda offsets, asynchronous: sent.append(asynchronous))
        client.on["on_assign"](client, OURS)
        commit_first(member, answers.append)
        client.on["on_lost"](client, OURS)

        # Of another partition, which came since.
        client.on["on_assign"](client, [TopicPartition(STREAM, 1)])
        member._client._commits.finish(client, member._client.rebalances.ours)

    assert sent == [True]
    assert [type(one) for one in answers] == [Fenced]
