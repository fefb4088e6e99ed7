"""Counts in a database, on each that they work on: every event once, in its window, whatever comes again or at once."""

import doctest
import re
from ast import literal_eval
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from random import Random
from threading import Barrier

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import DBAPIError

from forebay import Handlers, PortalEvent
from forebay.processors import analytics
from forebay.processors.analytics import Counts
from forebay.processors.outcome import DONE, Failed
from forebay.processors.testing import event, run_now
from tests.postgresql.pooler import pooled

AT = datetime(2026, 3, 1, 10, 59, 30, tzinfo=UTC)
#: SQLite waits for five seconds for who writes, which a busy machine exceeds.
_PATIENT: dict[str, dict[str, int]] = {"sqlite": {"timeout": 60}, "postgresql": {}}

ROOT = Path(__file__).parents[3]

#: Gives how many they were.
END_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

ONE, OTHER = "one.bitrix24.example", "other.bitrix24.example"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/counts.db", connect_args=_PATIENT["sqlite"])
    else:
        url: str = request.getfixturevalue("postgresql_url")
        made = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield made
    made.dispose()


def rows(engine: Engine, name: str = "m") -> dict[tuple[str, str, str], int]:
    """Minute, portal and type → how many."""
    table = analytics._counts.c
    wanted = select(table.starts_at, table.portal, table.type, table.events).where(table.name == name)
    with engine.connect() as connection:
        found = connection.execute(wanted).all()
    return {(f"{datetime.fromtimestamp(at, UTC):%H:%M}", portal, kind): many for at, portal, kind, many in found}


def counted(counts: Counts) -> Handlers:
    handlers = Handlers()
    handlers.on("*", batch=500)(counts)
    return handlers


def test_an_event_counts_once_in_the_window_in_which_it_happened(engine: Engine) -> None:
    (counts := Counts("m", engine)).create()
    given = [
        event("ONCRMDEALADD", portal=ONE, id="1", received_at=AT, occurred_at=None),
        event("ONCRMDEALADD", portal=ONE, id="2", received_at=AT, occurred_at=AT - timedelta(minutes=2)),
        # A portal whose clock is ahead closes nobody's window.
        event("ONCRMDEALADD", portal=ONE, id="3", received_at=AT, occurred_at=AT + timedelta(days=1)),
        event("ONCRMDEALDELETE", portal=ONE, id="4", received_at=AT, occurred_at=AT),
    ]

    counts(given)
    counts([*given, given[0]])
    counts(event("ONCRMDEALADD", portal=OTHER, id="5", received_at=AT, occurred_at=AT))

    assert rows(engine) == {
        ("10:59", ONE, "event.ONCRMDEALADD"): 2,
        ("10:57", ONE, "event.ONCRMDEALADD"): 1,
        ("10:59", ONE, "event.ONCRMDEALDELETE"): 1,
        ("10:59", OTHER, "event.ONCRMDEALADD"): 1,
    }


def test_counts_of_other_windows_have_a_name_of_their_own(engine: Engine) -> None:
    minutes, hours = Counts("m", engine), Counts("h", engine, window_s=3600)
    for counts in (minutes, hours):
        counts.create()
        counts(event("ONCRMDEALADD", portal=ONE, id="1", received_at=AT, occurred_at=AT))

    assert list(rows(engine, "m")) == [("10:59", ONE, "event.ONCRMDEALADD")]
    assert list(rows(engine, "h")) == [("10:00", ONE, "event.ONCRMDEALADD")]


def test_what_is_undone_counts_nothing_and_is_counted_when_it_comes_again(engine: Engine) -> None:
    (counts := Counts("m", engine)).create()
    fails = True

    def on_commit(_: object) -> None:
        if fails:
            raise ConnectionError("the database is gone")

    sqlalchemy_event.listen(engine, "commit", on_commit)
    given = event("ONCRMDEALADD", portal=ONE, received_at=AT, occurred_at=AT)
    first = run_now(counted(counts), given)
    before, fails = rows(engine), False
    second = run_now(counted(counts), given)

    assert isinstance(first, Failed)
    assert before == {}
    assert second is DONE
    assert list(rows(engine).values()) == [1]


def test_whatever_a_portal_says_is_counted(engine: Engine) -> None:
    (counts := Counts("m", engine)).create()
    long_ago = datetime(1, 1, 1, 0, 0, 30, tzinfo=UTC)
    given = [
        event("ON\0X\ud7ff'%S", portal=ONE, id="1", received_at=AT, occurred_at=long_ago),
        event("O" * 5000, portal=ONE, id="2", received_at=AT, occurred_at=datetime.fromtimestamp(-0.5, UTC)),
    ]

    counts(given)

    assert rows(engine) == {
        ("00:00", ONE, "event.ON\N{REPLACEMENT CHARACTER}X\ud7ff'%S"): 1,
        ("23:59", ONE, f"event.{'O' * 249}"): 1,
    }


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_whatever_isolation_the_engine_has_a_claim_and_its_count_are_one(
    engine: Engine, level: IsolationLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (counts := Counts("m", engine.execution_options(isolation_level=level))).create()
    events = [event("ONCRMDEALADD", portal=ONE, id=f"{n}", received_at=AT, occurred_at=AT) for n in range(200)]

    def fail(*_: object) -> None:
        raise ConnectionError("the database is gone")

    with monkeypatch.context() as patched, pytest.raises(ConnectionError):
        patched.setattr(counts, "_add", fail)
        counts(events)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(counts, [events[start : start + 5] for start in range(0, 200, 5)]))

    assert list(rows(engine).values()) == [200]


def test_who_forgets_keeps_nobody_from_counting(request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue("postgresql_url")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    forgetful, other = Counts("m", engine, known_s=-60), Counts("m", engine)
    forgetful.create()
    old, new = (event("ONCRMDEALADD", portal=ONE, id=n, received_at=AT, occurred_at=AT) for n in ("1", "2"))
    other(old)

    with ThreadPoolExecutor(2) as pool:
        with engine.begin() as slow:
            slow.execute(text("SELECT * FROM forebay_ledger FOR UPDATE"))
            forgetting = pool.submit(forgetful, new)
            while not blocked(engine):
                assert not forgetting.done()
            pool.submit(other, event("ONCRMDEALADD", portal=ONE, id="3", received_at=AT, occurred_at=AT)).result(60)
        forgetting.result(60)

    assert list(rows(engine).values()) == [3]
    engine.dispose()


def test_behind_a_pooler_of_transactions_nothing_fails_and_each_event_counts_once(postgresql_url: str) -> None:
    [given] = re.findall(r"connect_args=(\{.*?\})", (ROOT / "docs" / "analytics.md").read_text("utf-8"))
    with pooled(postgresql_url, "transaction", 2) as through:
        engine = create_engine(
            through.replace("postgresql://", "postgresql+psycopg://"), connect_args=literal_eval(given)
        )
        (counts := Counts("m", engine)).create()
        events = [event("ONCRMDEALADD", portal=ONE, id=f"{n}", received_at=AT, occurred_at=AT) for n in range(400)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(counts, [events[max(0, start - 3) : start + 5] for start in range(0, 400, 5)]))

        assert list(rows(engine).values()) == [400]
        engine.dispose()


def test_whenever_its_sessions_are_ended_each_event_counts_once(postgresql_url: str) -> None:
    engine, admin = (create_engine(postgresql_url.replace("postgresql://", "postgresql+psycopg://")) for _ in range(2))
    (counts := Counts("m", engine)).create()
    events = [event("ONCRMDEALADD", portal=ONE, id=f"{n}", received_at=AT, occurred_at=AT) for n in range(700)]
    begun, ended = Queue[int](), 0

    def count(start: int) -> None:
        begun.put(start)
        while True:
            with suppress(DBAPIError):
                return counts(events[max(0, start - 3) : start + 7])

    with ThreadPoolExecutor(8) as pool:
        counting = [pool.submit(count, start) for start in range(0, 700, 7)]
        # At any moment of a batch, between the COMMIT and its answer too.
        for _ in range(10):
            [begun.get(timeout=60) for _ in range(10)]
            with admin.connect() as connection:
                ended += connection.scalar(text(END_OTHERS)) or 0
        for one in counting:
            one.result(60)

    assert ended > 0
    assert list(rows(engine).values()) == [700]
    engine.dispose()
    admin.dispose()


def blocked(engine: Engine) -> int:
    """How many wait for a lock."""
    with engine.connect() as connection:
        found = connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    return int(found or 0)


def test_batches_that_overlap_at_the_same_time_count_each_event_once(engine: Engine) -> None:
    (counts := Counts("m", engine)).create()
    rng = Random(7)
    events = [
        event("ONCRMDEALADD", portal=portal, id=f"{portal} {n}", received_at=AT, occurred_at=AT)
        for portal in (ONE, OTHER)
        for n in range(100)
    ]

    def batches() -> Iterator[Sequence[PortalEvent]]:
        for start in range(0, len(events), 20):
            yield events[max(0, start - 10) : start + 20]

    def shuffled(batch: Sequence[PortalEvent]) -> list[PortalEvent]:
        return rng.sample(batch, len(batch))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(counts, [shuffled(batch) for batch in batches() for _ in range(4)]))

    assert rows(engine) == {("10:59", portal, "event.ONCRMDEALADD"): 100 for portal in (ONE, OTHER)}


def test_workers_that_start_at_once_make_the_tables_together(engine: Engine) -> None:
    at_once = Barrier(8)

    def create(number: int) -> None:
        own = create_engine(engine.url, connect_args=_PATIENT[engine.dialect.name])
        at_once.wait(30)
        Counts(f"{number}", own).create()
        own.dispose()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))

    assert rows(engine) == {}


def test_an_id_is_known_for_as_long_as_is_said(engine: Engine) -> None:
    (forgetful := Counts("m", engine, known_s=-60)).create()
    again = event("ONCRMDEALADD", portal=ONE, id="1", received_at=AT, occurred_at=AT)

    forgetful(again)
    forgetful(again)

    # It looks once an hour, and so it did at its first event alone.
    assert list(rows(engine).values()) == [2]


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: replace(event("ONFOREBAYGAP"), source="forebay"), "forebay.ONFOREBAYGAP"),
        (lambda: event("ONCRMDEALADD"), "event.ONCRMDEALADD"),
        (lambda: event("stage_changed", kind="robot"), "robot.stage_changed"),
        (lambda: event("", kind="automation"), "automation"),
    ],
)
def test_a_type_is_the_kind_and_the_name(made: Callable[[], PortalEvent], shown: str, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/counts.db")
    (counts := Counts("m", engine)).create()

    counts(made())

    assert [kind for _, _, kind in rows(engine)] == [shown]
    engine.dispose()


def test_the_docstring_is_true() -> None:
    assert doctest.testmod(analytics).failed == 0
