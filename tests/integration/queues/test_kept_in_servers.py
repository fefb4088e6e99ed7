"""What a released Forebay has kept in a server that knows nothing of tables is read by this one, which goes on there.

Two records, the first of which a group has finished. `tests/data/kept/servers` has what each server held then.
"""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from forebay.queues.contract import Commit
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queue_contract.parts import Follower, fetch, member, read_all
from tests.kept.sample import KEPT
from tests.memcached import server as memcached
from tests.redis import server as redis

FILES = sorted(Path(__file__).parents[2].joinpath("data", "kept", "servers").glob("*.json"))


def _to_redis(url: str, commands: list[list[str]]) -> None:
    with closing(redis.direct(url)) as client:
        for words in commands:
            client.execute_command(*(word.encode("latin-1") for word in words))


def _to_memcached(url: str, items: dict[str, str]) -> None:
    with closing(memcached.direct(url)) as client:
        for key, item in items.items():
            client.set(key, item.encode("latin-1"))


_SERVERS: dict[str, Callable[[str, Any], None]] = {"redis": _to_redis, "memcached": _to_memcached}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
async def test_what_an_earlier_version_has_kept_is_read_and_gone_on_with(
    file: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    system = file.stem.partition("-")[0]
    url = request.getfixturevalue(f"{system}_url")
    _SERVERS[system](url, json.loads(file.read_text("utf-8")))
    queue = open_queue(QueueSettings(data_dir=tmp_path, queue_url=url))
    inspector, producer, follower = queue.inspector(), queue.producer(), Follower()

    assert [(one.partition, one.offset, *_what(one)) for one in await read_all(inspector)] == [
        (1, 0, *_what(KEPT)),
        (1, 1, *_what(KEPT)),
    ]
    position = await producer.send("events", KEPT)
    async with member(queue, follower, group="billing") as consumer:
        found = await fetch(consumer, 2)
        await consumer.commit({1: Commit(offset=position.offset + 1, note=b"another")})
    groups = await inspector.groups("events")

    assert (position.partition, position.offset > 1) == (1, True)
    assert follower.committed[1] == Commit(offset=1, note=b"a note")
    assert [(one.offset, *_what(one)) for one in found] == [(1, *_what(KEPT)), (position.offset, *_what(KEPT))]
    assert (groups["billing"][1].offset, groups["billing"][1].note) == (position.offset + 1, b"another")
    for part in (inspector, producer, queue):
        await part.close()


async def test_facts_that_an_earlier_version_has_kept_in_redis_are_read(redis_url: str, tmp_path: Path) -> None:
    for file in FILES:
        if file.stem.startswith("redis"):
            redis.empty(redis_url)
            _to_redis(redis_url, json.loads(file.read_text("utf-8")))
            queue = open_queue(QueueSettings(data_dir=tmp_path, queue_url=redis_url))
            store = queue.portals("events")

            chapter = await store.read(0, 1.0)

            assert [(one.key, one.value) for one in chapter.facts] == [("m", b"said")]
            await store.close()
            await queue.close()


def _what(record: Any) -> tuple[str, bytes, int, object]:
    return record.key, record.value, record.timestamp_ms, tuple(record.headers)
