"""Moves between real queues, with real workers on both sides."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import structlog
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from forebay import Reject
from forebay.console import stillness
from forebay.console.moving.address import name_of
from forebay.console.moving.errors import NotNow
from forebay.console.moving.facts import known_by
from forebay.console.moving.move import Move
from forebay.console.moving.sides import Side
from forebay.console.reading import inspected
from forebay.console.settings import Settings
from forebay.console.stopping import Stop
from forebay.queues.contract import TakesByAge
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Fact
from forebay.schemas import names
from tests.integration.console.night import Night
from tests.integration.console.site import PARTITIONS, Program, Site
from tests.kafka.fixtures import Kafka
from tests.moving.sides import no_sleep
from tests.waiting import until

A, B, WELL = "a.bitrix24.example", "b.bitrix24.example", "well.bitrix24.example"
DOWN = ConnectionError("the portal's API is down")
PARKS = {"memory_tries": 1, "tries": 1000, "park_first_s": 30.0, "park_longest_s": 30.0}

PAIRS = [
    pytest.param("sqlite", "sqlite", id="sqlite-sqlite"),
    pytest.param("sqlite", "kafka", id="sqlite-kafka", marks=pytest.mark.kafka),
    pytest.param("sqlite", "postgresql", id="sqlite-postgresql"),
    pytest.param("postgresql", "mariadb", id="postgresql-mariadb"),
    pytest.param("sqlite", "redis", id="sqlite-redis"),
    pytest.param("redis", "sqlite", id="redis-sqlite"),
    pytest.param("kafka", "postgresql", id="kafka-postgresql", marks=pytest.mark.kafka),
    pytest.param("sqlite", "rabbitmq", id="sqlite-rabbitmq"),
    pytest.param("rabbitmq", "sqlite", id="rabbitmq-sqlite"),
    pytest.param("sqlite", "memcached", id="sqlite-memcached"),
]

#: Queues that keep nothing of portals.
UNKNOWING = {"rabbitmq", "memcached"}


@asynccontextmanager
async def site_on(url: str, topic: str, partitions: int, folder: Path) -> AsyncIterator[Site]:
    """A queue, and workers on it."""
    settings = Settings(queue_url=url, topic=topic, partitions=partitions, data_dir=folder)
    queue = open_queue(settings)
    await queue.ensure(names.streams(topic), partitions)
    made = Site(settings=settings, queue=queue, producer=queue.producer())
    yield made
    for worker in list(made.running):
        await made.stop(worker)
    await made.producer.close()
    await queue.close()


async def know(site: Site, *facts: Fact) -> None:
    """Let that be known of the portals."""
    store = site.queue.portals(site.settings.topic)
    await store.ensure()
    await store.put(facts)
    await store.close()


@asynccontextmanager
async def move_between(old: Site, new: Site) -> AsyncIterator[Move]:
    """A move that doesn't watch first."""
    async with inspected(old.queue) as one, inspected(new.queue) as other:
        sides = [
            Side(name=name_of(site.settings.queue_url), settings=site.settings, queue=site.queue, inspector=inspector)
            for site, inspector in ((old, one), (new, other))
        ]
        yield Move(source=sides[0], target=sides[1], sleep=no_sleep)


async def carried(move: Move, most: int = 10**9) -> int:
    """Plan it and carry it out, or leave it after so many; how many records were sent."""
    sent, stop = 0, Stop()

    def count(records: int) -> None:
        nonlocal sent
        sent += records
        if sent >= most:
            stop.ask()

    await move.carry_out(await move.plan(), stop, count)
    return sent


@pytest.mark.parametrize(("old_system", "new_system"), PAIRS)
async def test_what_waits_is_handled_from_the_new_queue_in_the_order_of_each_portal(
    old_system: str, new_system: str, url_of: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One look whether all is still: each look asks for every partition of both sides.
    monkeypatch.setattr(stillness, "QUIET_S", stillness.LOOK_S)
    topic = f"events-{uuid4().hex[:12]}"
    program = Program(errors={A: DOWN, (B, 2): Reject("no stock")})
    async with (
        site_on(url_of(old_system), topic, 4, tmp_path) as old,
        site_on(url_of(new_system), topic, 7, tmp_path) as new,
    ):
        knows = UNKNOWING.isdisjoint({old_system, new_system})
        if knows:
            await know(old, Fact("m/1", b"1"), Fact("m/2", b"2"), Fact("m/1", b"3"))
        await old.send(A, 1, 2, 3)
        await old.send(B, 1, 2, 3)
        worker = old.start(program, **PARKS)
        await old.all_committed()
        await until(lambda: program.handled[B] == [1, 3])
        async with move_between(old, new) as move:
            with pytest.raises(NotNow, match="workers of group forebay run on"):
                await carried(move)
            await old.stop(worker)
            await old.send(WELL, *range(1, 30))
            await old.send(A, 4)
            # What can't be read again can't be gone on with.
            first = await carried(move, 5) if new.queue.promises.replay else 0
            rest, again = await carried(move), await carried(move)
            known = await known_by(new.queue, topic)
            assert [(fact.key, fact.value) for fact in known.facts] == [("m/2", b"2"), ("m/1", b"3")][: 2 * knows]
        program.errors.clear()
        new.start(program)
        await until(lambda: len(program.handled[WELL]) == 29 and len(program.handled[A]) == 4)

        assert (first + rest, again) == (29 + 4 + 1, 0)
        assert rest
        assert program.handled == {A: [1, 2, 3, 4], B: [1, 3], WELL: list(range(1, 30))}
        assert [letter.record.key for letter in await new.dead()] == [B]
        assert len(await new.records(topic)) == 29 + 4


async def test_a_move_that_is_killed_goes_on_without_a_loss_and_without_a_second_copy(tmp_path: Path) -> None:
    old_url, new_url = f"sqlite:///{tmp_path}/old.db", f"sqlite:///{tmp_path}/new.db"
    topic = Settings().topic
    portals = [f"{number}.bitrix24.example" for number in range(5)]
    async with site_on(old_url, topic, 4, tmp_path) as old, site_on(new_url, topic, 4, tmp_path) as new:
        await asyncio.gather(*(old.send(portal, *range(1, 401)) for portal in portals))
        for acknowledged in (1, 300):
            await asyncio.to_thread(_killed_after, acknowledged, old_url, new_url)
            assert len(await new.records(topic)) < 2000
        last = await asyncio.to_thread(_mover, old_url, new_url)
        told, _ = await asyncio.to_thread(last.communicate)

        records = await new.records(topic)
        assert told.splitlines()[-1] == "done"
        assert len(records) == len({record.value for record in records}) == 2000
        program = Program()
        new.start(program)
        await until(lambda: sum(map(len, program.handled.values())) == 2000)
        assert program.handled == {portal: list(range(1, 401)) for portal in portals}


def _mover(old_url: str, new_url: str, *most: str) -> "subprocess.Popen[str]":
    script = Path(__file__).with_name("move_until_killed.py")
    return subprocess.Popen([sys.executable, str(script), old_url, new_url, *most], stdout=subprocess.PIPE, text=True)


def _killed_after(acknowledged: int, old_url: str, new_url: str) -> None:
    """A move that dies as soon as so many records were acknowledged to it."""
    with _mover(old_url, new_url, str(acknowledged)) as mover:
        assert mover.stdout is not None
        for _ in range(acknowledged):
            assert mover.stdout.readline() == "sent\n"
        mover.send_signal(signal.SIGKILL)


@pytest.mark.kafka
async def test_a_kafka_that_would_take_old_events_at_once_is_refused_until_it_keeps_them(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = f"events-{uuid4().hex[:12]}"
    async with (
        site_on(f"sqlite:///{tmp_path}/old.db", topic, 4, tmp_path) as old,
        site_on(f"kafka://{kafka.bootstrap}", topic, 4, tmp_path) as new,
    ):
        await old.send(A, 1, at_ms=1_700_000_000_000)
        await _keep(kafka, new, 7 * 86_400_000)
        async with move_between(old, new) as move:
            with pytest.raises(NotNow, match=r"keeps records for 7 days from their own time"):
                await carried(move)
            before = await new.records(topic)
            await _keep(kafka, new, None)
            sent = await carried(move)

        assert (before, sent, len(await new.records(topic))) == ([], 1, 1)


async def _keep(kafka: Kafka, site: Site, kept_ms: int | None) -> None:
    """Let the topic keep its records for so long; return when the broker that is asked knows it."""
    value = str(-1 if kept_ms is None else kept_ms)
    entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, site.settings.topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    [done] = admin.incremental_alter_configs([resource]).values()
    await asyncio.wrap_future(done)
    assert isinstance(site.queue, TakesByAge)
    while await site.queue.keeps_ms(site.settings.topic) != kept_ms:
        pass


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    """A worker on SQLite, and commands beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREBAY_PARTITIONS", str(PARTITIONS))
    monkeypatch.setattr(stillness, "QUIET_S", 0)
    # While a command runs, standard output is the command's.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    made = Night(tmp_path)
    yield made
    made.close()
    structlog.reset_defaults()


MOVE = ("move", "sqlite:///queue.db", "sqlite:///new.db")


def test_the_command_plans_moves_and_says_what_comes_next(night: Night, tmp_path: Path) -> None:
    night.do(night.site.send(A, 1, 2, 3))

    (planned,) = night.rows(*MOVE, "--dry-run")
    is_made = (tmp_path / "new.db").exists()
    done = night.command(*MOVE, "--yes", "--partitions", "6")
    again = night.command(*MOVE, "--json", "--partitions", "6")

    assert {name: planned[name] for name in ("what", "records", "portals", "there")} == {
        "what": "events",
        "records": 3,
        "portals": 1,
        "there": 0,
    }
    assert set(planned) == {"what", "to", "records", "portals", "bytes", "oldest", "there"}
    assert not is_made
    assert done.exit_code == 0
    assert "3 records moved" in done.stderr
    assert "next: set queue_url to the new queue on every host, and partitions to 6, start the workers" in done.stderr
    assert (again.exit_code, again.stdout) == (0, "")
    moves = [(row["what"], row["why"]) for row in night.rows("audit")]
    assert moves == [("move", "begun"), ("move", "done")]


def test_a_replay_that_no_worker_has_begun_is_handled_from_the_new_queue_ahead_of_all_else(
    night: Night, tmp_path: Path
) -> None:
    night.program.errors = {(A, 1): Reject("no stock"), (A, 2): Reject("no stock")}
    night.start()
    night.do(night.site.send(A, 1, 2, 3))
    night.until_rows(lambda rows: len(rows) == 2, "dead", "list")
    night.do(night.site.all_committed())
    for worker in list(night.site.running):
        night.do(night.site.stop(worker))
    night.do(night.site.send(A, 4))
    # Nobody is there who would do it.
    ordered = night.command("dead", "replay", "--all", "--yes")

    done = night.command(*MOVE, "--yes")

    async def handled() -> None:
        async with site_on(f"sqlite:///{tmp_path}/new.db", night.settings.topic, PARTITIONS, tmp_path) as new:
            program.handled.clear()
            new.start(program)
            await until(lambda: len(program.handled[A]) == 3)

    program = night.program
    program.errors.clear()
    night.do(handled())
    assert (ordered.exit_code, done.exit_code) == (0, 0)
    assert program.handled == {A: [1, 2, 4]}


def test_the_command_is_refused_while_a_worker_runs_and_the_plan_says_so(night: Night) -> None:
    night.program.errors = {A: DOWN}
    night.start(**PARKS)
    night.do(night.site.send(A, 1))
    night.do(night.site.all_committed())

    planned = night.command(*MOVE, "--dry-run")
    with pytest.raises(NotNow, match="workers of group forebay run"):
        night.command(*MOVE, "--yes")

    assert planned.exit_code == 0
    assert "not yet: workers of group forebay run on sqlite:///" in planned.stderr
