"""A member whose client met a fatal error, or was left: what it owes, and what it must not do any more."""

import asyncio

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError

from .memberships import OURS, membership


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
