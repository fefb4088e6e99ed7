"""A synchronous standby of PostgreSQL takes over under load, again and again: all is there, in its order, and counted
once. The server that it took over from comes back as its standby, or is never heard of again."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent

import psycopg
import pytest
from sqlalchemy import create_engine

from forebay.processors.analytics import Counts
from tests.databases.server import ADMIN, PASSWORD, as_account
from tests.e2e.sending import Portals
from tests.e2e.site import Site
from tests.missing import entered, missing
from tests.order import HANDLERS, Book, judge
from tests.postgresql.server import Server, programs

PORTALS, CONNECTIONS, RATE, SEED = 100, 16, 150.0, 20_261_130
BETWEEN = 400

DOCS = Path(__file__).parents[2] / "docs" / "analytics.md"

#: In a group of their own, beside the handlers that write into the book.
COUNTING = """
from sqlalchemy import create_engine

from forebay.processors.analytics import Counts

{counts}
handlers.on("*", group="analytics", batch=20)(counts)
"""

COUNTED = "SELECT coalesce(sum(events), 0) FROM forebay_counts"


class Primary(Server):
    """Can be rewound: what it needs for that stands in its file, which `pg_rewind` reads too."""

    def _make(self) -> None:
        super()._make()
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write("wal_log_hints = on\nwal_keep_size = '256MB'\n")


class Standby(Server):
    """Has what another server has; each commit of that waits for it."""

    def __init__(self, primary: Server) -> None:
        super().__init__()
        self._primary = primary

    def _make(self) -> None:
        super()._make()
        subprocess.run(["rm", "-r", str(self.data)], check=True)
        run(self, "pg_basebackup", "-D", str(self.data), "-d", source(self._primary), "-R", "-c", "fast")


def source(server: Server) -> str:
    return f"host=127.0.0.1 port={server.port} user={ADMIN} password='{PASSWORD}' dbname=postgres"


def run(server: Server, program: str, *arguments: str) -> None:
    command = [str(programs() / program), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=server.folder, **as_account(server.account)
    )
    assert done.returncode == 0, done.stderr


def order(server: Server, *statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement.encode())


def asked(server: Server, question: str) -> int:
    with psycopg.connect(server.url(), autocommit=True) as admin:
        [(found,)] = admin.execute(question.encode()).fetchall()
    return int(found)


def wait_for_its_standby(server: Server) -> None:
    of = "SELECT count(*) FROM pg_stat_replication WHERE (state, sync_state) = ('streaming', 'sync')"
    while not asked(server, of):
        pass


def follow(server: Server, primary: Server) -> None:
    """Bring back a server that was taken over from, as the standby of the one that did."""
    # Before PostgreSQL 16 pg_rewind learns of the new timeline by a checkpoint alone.
    order(primary, "CHECKPOINT")
    run(server, "pg_rewind", f"--target-pgdata={server.data}", f"--source-server={source(primary)}", "-R")
    server.start()
    server.wait_ready()


@contextmanager
def out_of_reach(server: Server) -> Iterator[None]:
    """What is sent to it and by it gets lost, and nobody is told."""
    rules = [
        ["INPUT", "-i", "lo", "-p", "tcp", side, str(server.port), "-j", "DROP"] for side in ("--dport", "--sport")
    ]
    with ExitStack() as made:
        for rule in rules:
            try:
                subprocess.run(["iptables", "-I", *rule], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                missing(f"iptables is needed to lose packets, and root: {error}")
            made.callback(subprocess.run, ["iptables", "-D", *rule], check=True)
        yield


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """A primary, and the standby that each of its commits waits for."""
    with ExitStack() as running:
        first = entered(running, Primary)
        second = entered(running, lambda: Standby(first))
        for server in (first, second):
            order(server, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        wait_for_its_standby(first)
        yield first, second


@pytest.fixture
def book(site: Site, servers: tuple[Server, Server]) -> Book:
    """What the handlers write; the counts are made with the engine of docs/analytics.md."""
    login = servers[0].url().partition("://")[2].partition("@")[0]
    ports = [server.port for server in servers]
    queue, counts = ",".join(f"127.0.0.1:{one}" for one in ports), "&".join(f"host=127.0.0.1:{one}" for one in ports)
    counts = f"postgresql+psycopg://{login}@/postgres?{counts}"
    site.settings |= {"queue_url": f"postgresql://{login}@{queue}/postgres", "session_s": "3"}
    site.variables |= {"BOOK": str(site.folder / "handled.log"), "COUNTS_DATABASE": counts}
    engine = create_engine(counts)
    Counts("minutes", engine).create()
    engine.dispose()
    [made] = re.findall(r"^  ```python\n(  import os\n.*?)^  ```", DOCS.read_text("utf-8"), re.M | re.S)
    (site.folder / "shop.py").write_text(HANDLERS + COUNTING.format(counts=dedent(made)))
    return Book(site.folder / "handled.log")


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_whatever_becomes_of_the_primary_nothing_is_lost_out_of_order_or_counted_twice(
    site: Site, servers: tuple[Server, Server], book: Book
) -> None:
    first, second = servers
    site.start("ingest", "ingest", "--processes", "2")
    for name in ("one", "two"):
        site.start(name, "process", "shop:handlers")
    await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
    portals = Portals([site.url], PORTALS, rate=RATE, connections=CONNECTIONS, seed=SEED, in_turn=False)
    sending = asyncio.create_task(portals.run())

    async def taken_over(end: Callable[[], object], new: Server, come_back: Callable[[], object]) -> None:
        await portals.answered(BETWEEN)
        await asyncio.to_thread(end)
        await asyncio.to_thread(order, new, "SELECT pg_promote()")
        # Its commits wait for a standby meanwhile.
        await portals.answered(BETWEEN)
        await asyncio.to_thread(come_back)
        await asyncio.to_thread(wait_for_its_standby, new)
        await asyncio.to_thread(site.wait, "the queue", site.has_its_queue)

    with ExitStack() as running:
        await taken_over(first.kill, second, lambda: follow(first, second))
        await taken_over(second.stop, first, lambda: follow(second, first))
        await taken_over(
            lambda: running.enter_context(out_of_reach(first)),
            second,
            lambda: running.enter_context(Standby(second)),
        )
        portals.stop()
        await sending
        kept = {event for events in portals.kept.values() for event in events}
        await asyncio.to_thread(site.wait, "every event", lambda: book.read().ended >= kept)
        await asyncio.to_thread(site.wait, "every count", lambda: asked(second, COUNTED) >= len(kept))
        statuses = [site.stop(name) for name in ("ingest", "one", "two")]
        counted = asked(second, COUNTED)

    verdict = judge(portals.kept, book.lines)
    assert set(portals.answers) == {"200 accepted"}
    assert verdict.good, verdict
    assert counted == len(kept)
    assert statuses == [0, 0, 0]
