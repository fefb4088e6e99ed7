"""What a server is set to: refused, told by `doctor`, or waited for."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from forebay.queues.contract import Commit, Position, Queue, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused
from forebay.queues.groups.retention import Retention
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Fact
from forebay.queues.redis import diagnosis
from forebay.queues.redis.address import address
from forebay.queues.redis.connection import RedisStore
from forebay.queues.redis.consumer import RedisConsumer
from forebay.queues.redis.portals import RedisPortalStore
from forebay.queues.redis.producer import RedisProducer
from forebay.queues.settings import QueueSettings
from tests.databases.console import Command
from tests.databases.server import PASSWORD
from tests.integration.queues.members import PARTITIONS, STREAM, Clock, Follower, fetch, record
from tests.integration.queues.stage import read_all
from tests.redis.server import RedisServer, direct

#: What is told about the server, and its rights.
DOCUMENT = Path(__file__).parents[3] / "docs" / "redis.md"


def _opened(url: str) -> Queue:
    return open_queue(QueueSettings(queue_url=url))


@contextmanager
def _set(url: str, settings: dict[str, str]) -> Iterator[None]:
    """A server whose administrator changes its settings as it runs, and changes them back."""
    with direct(url) as admin:
        before = {name: admin.config_get(name)[name] for name in settings}
        for name, value in settings.items():
            admin.config_set(name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                admin.config_set(name, value)
            _wait_made(admin)


def _wait_made(admin: Any) -> None:
    """Return when its append-only file is there, which is made anew each time that it is told to have one."""
    while admin.info("persistence")["aof_rewrite_in_progress"]:
        time.sleep(0.01)


def _wait_linked(replica: RedisServer) -> None:
    """Return when it follows its primary."""
    with direct(replica.url()) as admin:
        while admin.info("replication")["master_link_status"] != "up":
            time.sleep(0.01)


@pytest.fixture
def forebay(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(url)


@pytest.mark.parametrize(
    ("settings", "parameters", "told"),
    [
        ({"appendfsync": "everysec"}, "", "appendfsync everysec"),
        ({"appendfsync": "no"}, "?fsync=everysec", "fsync=no"),
        ({"appendonly": "no"}, "?fsync=everysec", "appendonly yes"),
        ({"no-appendfsync-on-rewrite": "yes"}, "", "no-appendfsync-on-rewrite"),
        ({"maxmemory-policy": "allkeys-lru"}, "", "noeviction"),
    ],
)
async def test_a_server_that_keeps_less_than_the_url_relies_on_is_refused(
    url: str, settings: dict[str, str], parameters: str, told: str
) -> None:
    with _set(url, settings), pytest.raises(QueueError, match=told) as refused:
        await _opened(url + parameters).ensure([STREAM], PARTITIONS)

    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"appendonly": "no"}, "appendonly yes"),
        ({"appendfsync": "no"}, "appendfsync always"),
        ({"maxmemory-policy": "allkeys-lru"}, "noeviction"),
    ],
)
async def test_nothing_more_is_entrusted_to_a_server_that_is_set_to_keep_less_as_it_runs(
    url: str, queue: Queue, settings: dict[str, str], told: str
) -> None:
    store = RedisStore(address(url), clock := Clock())
    producer, portals = RedisProducer(store), RedisPortalStore(store, "events.portals")
    await portals.ensure()
    await producer.send(STREAM, record(0))
    await portals.put([Fact("portal", b"before")])

    with _set(url, settings):
        clock.now += 1
        for call in (producer.send(STREAM, record(1)), producer.check(), portals.put([Fact("portal", b"not kept")])):
            with pytest.raises(QueueError, match=told):
                await call
    await producer.send(STREAM, record(2))

    assert [one.value for one in await read_all(queue)] == [b"0", b"2"]
    assert [fact.value for fact in (await portals.read(0, 0)).facts] == [b"before"]
    for part in (producer, portals):
        await part.close()


async def test_a_server_that_is_told_to_write_as_it_runs_gets_nothing_before_its_file_is_made(
    redis_servers: Callable[..., RedisServer],
) -> None:
    server = redis_servers("appendonly no")
    with direct(server.url()) as admin:
        admin.mset({f"another's-{number}": "" for number in range(300)})
        # Its file takes a while, as with much that is in the memory.
        admin.config_set("rdb-key-save-delay", 5000)
        admin.config_set("appendonly", "yes")
        with pytest.raises(QueueUnavailable, match="makes its append-only file"):
            await _opened(server.url()).ensure([STREAM], PARTITIONS)
        _wait_made(admin)

        made = await _opened(server.url()).ensure([STREAM], PARTITIONS)

    assert made


@pytest.mark.parametrize("setting", ["proto-max-bulk-len", "client-query-buffer-limit"])
async def test_what_the_server_would_hang_up_for_is_refused_and_its_neighbours_are_kept(
    url: str, queue: Queue, setting: str
) -> None:
    sizes = [10, 1_100_000, 900_000, 10]
    records = [Record(key="portal", value=bytes(size), timestamp_ms=0) for size in sizes]
    with _set(url, {setting: str(1024 * 1024)}):
        producer = queue.producer()

        outcomes = await asyncio.gather(*(producer.send(STREAM, one) for one in records), return_exceptions=True)
        await producer.close()

    assert [type(one) for one in outcomes] == [Position, RecordRefused, Position, Position]
    assert setting in str(outcomes[1])
    assert [len(one.value) for one in await read_all(queue)] == [10, 900_000, 10]


async def test_no_more_is_asked_for_than_the_server_lets_into_an_answer(url: str, queue: Queue) -> None:
    producer, inspector = queue.producer(), queue.inspector()
    with _set(url, {"client-output-buffer-limit": "normal 1mb 1mb 60"}):
        large = Record(key="portal", value=bytes(400_000), timestamp_ms=0)
        for _ in range(8):
            position = await producer.send(STREAM, large)
        consumer = queue.consumer(STREAM, "group", session_s=60.0)
        await consumer.start(follower := Follower())
        await follower.owns(PARTITIONS)

        found = await fetch(consumer, 8)
        seen = await inspector.read(STREAM, position.partition, 0, 8)

    assert found == [large.value] * 8
    assert seen
    for part in (consumer, producer, inspector):
        await part.close()


@pytest.mark.parametrize(("parameters", "durable"), [("", True), ("?fsync=everysec", False), ("?fsync=no", False)])
def test_what_is_relied_on_is_what_is_promised(parameters: str, durable: bool) -> None:
    assert _opened(f"redis://host/0{parameters}").promises.durable is durable


async def test_a_server_whose_settings_are_hidden_is_refused_unless_nothing_is_relied_on(url: str) -> None:
    with direct(url) as admin:
        admin.acl_setuser("hidden", enabled=True, passwords=["+hush"], keys=["forebay:*"], channels=["forebay:*"],
                          commands=["+@all", "-config"])  # fmt: skip
        try:
            hidden = url.replace(url.split("//")[1].split("@")[0], "hidden:hush")
            with pytest.raises(QueueError, match=r"\+config\|get"):
                await _opened(hidden).ensure([STREAM], PARTITIONS)
            made = await _opened(hidden + "?fsync=no").ensure([STREAM], PARTITIONS)
        finally:
            admin.acl_deluser("hidden")

    assert len(made) == 1


async def test_the_documented_rights_are_enough(
    redis_servers: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = redis_servers()
    [line] = [one for one in DOCUMENT.read_text("utf-8").splitlines() if one.startswith("ACL SETUSER")]
    with direct(server.url()) as admin:
        admin.execute_command("ACL SETUSER", *line.replace(">…", ">hush").split()[2:])
    url = f"redis://forebay:hush@127.0.0.1:{server.port}/0"
    queue, follower = _opened(url), Follower()
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group")
    await producer.check()
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    position = await producer.send(STREAM, record(0))
    assert len(await consumer.fetch(10, 30.0)) == 1
    await consumer.commit({position.partition: Commit(offset=position.offset + 1)})
    store = queue.portals("t")
    await store.ensure()
    await store.put([Fact("a", b"1"), Fact("b", None)])
    assert len((await store.read(0, 5.0)).facts) == 2
    for part in (store, consumer, producer, queue):
        await part.close()
    with direct(server.url()) as admin:
        [group] = admin.xinfo_groups(f"forebay:{{{STREAM}}}:log:{position.partition}")

    # What may not be acknowledged is told in the log alone.
    assert (group["pending"], group["lag"]) == (0, 0)
    assert await asyncio.to_thread(Command(url).findings)


async def test_a_user_who_may_not_announce_is_refused_before_anything_is_written(url: str) -> None:
    queue = _opened(url)
    await queue.ensure([STREAM], PARTITIONS)
    with direct(url) as admin:
        # No channels, as Redis 7 gives a new user none.
        admin.acl_setuser("silent", enabled=True, passwords=["+hush"], keys=["forebay:*"], commands=["+@all"])
        silent = _opened(url.replace(url.split("//")[1].split("@")[0], "silent:hush"))
        producer, store = silent.producer(), silent.portals("t")
        await store.ensure()
        try:
            with pytest.raises(QueueUnavailable, match=r"channel.*; .*the channels"):
                await producer.send(STREAM, record(0))
            with pytest.raises(QueueUnavailable, match=r"channel.*; .*the channels"):
                await store.put([Fact("a", b"1")])
            ends = await store.end()
        finally:
            admin.acl_deluser("silent")

        assert admin.keys("*:log:*") == []
    assert ends == 0
    for part in (store, producer, silent, queue):
        await part.close()


async def test_a_full_memory_refuses_events_and_takes_commits(
    redis_servers: Callable[..., RedisServer],
) -> None:
    server = redis_servers("maxmemory 6mb")
    queue, follower = _opened(server.url()), Follower()
    await queue.ensure([STREAM], PARTITIONS)
    producer = queue.producer()
    retention = Retention(stream=STREAM, keep_ms=0, every_s=0.05)
    session_s = 3.0
    consumer = RedisConsumer(
        RedisStore(address(server.url())), STREAM, "group", session_s=session_s, retention=retention
    )
    await consumer.start(follower)
    await follower.owns(PARTITIONS)

    with pytest.raises(QueueUnavailable, match="memory is full"):
        while True:
            position = await producer.send(STREAM, _large())
    with direct(server.url()) as admin:
        # Not a byte more, for longer than a session.
        admin.config_set("maxmemory", "1")
        with pytest.raises(QueueUnavailable, match="memory is full"):
            await producer.check()
        await asyncio.sleep(1.2 * session_s)
        await consumer.commit({position.partition: Commit(offset=position.offset + 1)})
        admin.config_set("maxmemory", "6mb")

    # What was finished is deleted, and then there is room again.
    while True:
        try:
            await producer.send(STREAM, record(1))
            break
        except QueueUnavailable:
            await asyncio.sleep(0.05)
    assert "lost" not in follower.told
    for part in (consumer, producer, queue):
        await part.close()


def _large() -> Record:
    return Record(key="portal", value=b"x" * 50_000, timestamp_ms=0)


async def test_what_is_sent_counts_as_kept_when_the_replicas_have_it(redis_servers: Callable[..., RedisServer]) -> None:
    primary = redis_servers()
    replica = redis_servers(f"replicaof 127.0.0.1 {primary.port}", f'masterauth "{PASSWORD}"')
    queue = _opened(primary.url("?replicas=1"))
    await queue.ensure([STREAM], PARTITIONS)
    producer, store = queue.producer(), queue.portals("t")
    await store.ensure()
    await producer.send(STREAM, record(0))

    replica.signal_all(signal.SIGSTOP)
    sending = asyncio.create_task(producer.send(STREAM, record(1)))
    done, _ = await asyncio.wait([sending], timeout=0.5)
    with pytest.raises(QueueUnavailable, match="fewer replicas"):
        await store.put([Fact("a", b"1")])
    replica.signal_all(signal.SIGCONT)

    assert done == set()
    assert await store.put([Fact("a", b"1")]) == 1
    assert (await sending).offset == 1
    with pytest.raises(QueueUnavailable, match="is a replica"):
        await _opened(replica.url()).missing([STREAM], PARTITIONS)
    for part in (store, producer, queue):
        await part.close()


@pytest.mark.parametrize("parameters", ["", "?fsync=no"])
@pytest.mark.parametrize("database", ["/0", "/1"])
async def test_a_sentinel_is_told_from_a_server_that_keeps_less(
    redis_sentinel: RedisServer, database: str, parameters: str
) -> None:
    url = redis_sentinel.url(parameters).replace("/0", database)

    with pytest.raises(QueueError, match=r"a Sentinel, .* primary that it watches over") as refused:
        await _opened(url).missing([STREAM], PARTITIONS)

    assert "fsync" not in str(refused.value)


def test_a_healthy_server_is_found_so(forebay: Command) -> None:
    forebay.run("topics", "ensure")

    found = forebay.findings()

    checks = [
        "queue",
        *(f"queue {name}" for name in ("version", "durability", "memory", "size", "replicas", "connections")),
    ]
    assert {check: found[check]["state"] for check in checks} == dict.fromkeys(checks, "ok")


@pytest.mark.parametrize(
    ("options", "parameters", "check", "state", "told"),
    [
        (("appendfsync everysec",), "", "queue", "fail", "appendfsync always"),
        (("appendfsync everysec",), "?fsync=everysec", "queue durability", "warn", "last second"),
        (("appendonly no",), "?fsync=no", "queue durability", "warn", "a crash loses"),
        (("maxmemory 0",), "", "queue memory", "warn", "set maxmemory"),
        ((), "?replicas=2", "queue replicas", "fail", "replicas=2"),
        (("maxclients 20",), "", "queue connections", "warn", "maxclients"),
        (("proto-max-bulk-len 1mb",), "", "queue size", "fail", "proto-max-bulk-len"),
        (("client-output-buffer-limit normal 2mb 0 0",), "", "queue size", "fail", "client-output-buffer-limit"),
    ],
)
def test_what_a_server_was_set_to_is_found(
    redis_servers: Callable[..., RedisServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    parameters: str,
    check: str,
    state: str,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("forebay.queues.looks.SPARE", 50 if "maxclients 20" in options else 8)
    forebay = Command(redis_servers(*options).url(parameters))

    found = forebay.findings(status=1 if state == "fail" else 0)

    assert found[check]["state"] == state
    assert told in found[check]["detail"] + found[check]["remedy"]


def test_a_replica_that_may_take_over_and_is_not_waited_for_is_found(
    redis_servers: Callable[..., RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    primary = redis_servers("repl-diskless-sync-delay 0")
    replicas = [redis_servers(f"replicaof 127.0.0.1 {primary.port}", f'masterauth "{PASSWORD}"') for _ in range(2)]
    for replica in replicas:
        _wait_linked(replica)

    found = [Command(primary.url(f"?replicas={count}")).findings()["queue replicas"] for count in range(3)]

    assert [one["state"] for one in found] == ["warn", "warn", "ok"]
    assert all("replicas=2" in one["remedy"] for one in found[:2])


def test_a_memory_that_is_nearly_full_is_found(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_FREE", 1.0)

    assert "retention_h" in forebay.findings()["queue memory"]["remedy"]


async def test_a_server_that_nobody_listens_at_says_what_to_check() -> None:
    queue = _opened("redis://127.0.0.1:1/0")
    producer = queue.producer()

    with pytest.raises(QueueUnavailable, match="check that Redis runs"):
        await queue.missing([STREAM], PARTITIONS)
    # Nothing of it can be there.
    with pytest.raises(QueueUnavailable, match="check that Redis runs"):
        await producer.send(STREAM, record(0))
    await producer.close()
