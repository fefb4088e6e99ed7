"""A pooler in between: one that leaves a session to its connection is used, any other refused: it may lose events."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.postgresql.address import parameters
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.postgresql.remedies import remedy
from forebay.queues.sql.postgresql.session import open_session
from tests.databases.console import Command
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record
from tests.postgresql.pooler import pooled


def opened(url: str) -> Queue:
    return open_queue(QueueSettings(queue_url=url))


@pytest.fixture
def by_transactions(postgresql_url: str, queue: Queue) -> Iterator[str]:
    with pooled(postgresql_url, "transaction", 1) as through:
        yield through


async def test_a_pooler_of_sessions_is_used_as_the_server_itself(postgresql_url: str) -> None:
    with pooled(postgresql_url, "session", 20) as through:
        queue = opened(through)
        await queue.ensure([STREAM], PARTITIONS)
        producer, consumer = queue.producer(), queue.consumer(STREAM, "group")
        await consumer.start(Follower())

        for number in range(10):
            await producer.send(STREAM, record(number))

        assert await fetch(consumer, 10) == [str(number).encode() for number in range(10)]
        for part in (consumer, producer, queue):
            await part.close()


async def test_what_begins_in_a_session_that_another_has_set_is_not_kept(by_transactions: str, queue: Queue) -> None:
    first, second = opened(by_transactions).producer(), opened(by_transactions).producer()
    await first.send(STREAM, record(0))
    await second.send(STREAM, record(1))

    with pytest.raises(QueueUnavailable, match="pool_mode = session"):
        await first.send(STREAM, record(2))

    inspector = queue.inspector()
    assert sum(one.end for one in (await inspector.bounds(STREAM)).values()) == 2
    for part in (first, second, inspector):
        await part.close()


def test_doctor_finds_a_pooler_of_transactions(
    by_transactions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = Command(by_transactions).findings(status=1)

    assert found["queue sessions"]["state"] == "fail"
    assert "pool_mode = session" in found["queue sessions"]["remedy"]


def test_a_pooler_that_has_no_session_left_is_not_waited_for(postgresql_url: str) -> None:
    with (
        pooled(postgresql_url, "session", 1) as through,
        closing(PostgresqlDatabase(through).connect()),
        pytest.raises(psycopg.OperationalError) as refused,
    ):
        open_session(parameters(through), {}, within_s=0.1)

    assert "default_pool_size" in remedy("postgresql://", refused.value)


async def test_a_pooler_of_statements_is_told(postgresql_url: str) -> None:
    with (
        pooled(postgresql_url, "statement", 1) as through,
        pytest.raises(QueueUnavailable, match="pool_mode = session"),
    ):
        await opened(through).ensure([STREAM], PARTITIONS)
