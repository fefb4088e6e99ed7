"""What MariaDB refuses, and what we refuse of it, told with what to do about it, and never with a password."""

import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from forebay.queues.contract import Commit
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.opening import check_url, open_queue
from forebay.queues.settings import QueueSettings
from forebay.queues.sql.mariadb.database import MariadbDatabase
from forebay.queues.sql.producer import SqlProducer
from tests.certificates import Authority
from tests.databases.server import with_user
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, fetch, record, send_all
from tests.mariadb.server import Server, asked, direct
from tests.ports import free_ports


async def ensured(url: str) -> list[str]:
    return await open_queue(QueueSettings(queue_url=url)).ensure([STREAM], PARTITIONS)


async def sent(url: str) -> None:
    producer = open_queue(QueueSettings(queue_url=url)).producer()
    try:
        await producer.send(STREAM, record(0))
    finally:
        await producer.close()


async def refusal(called: Callable[[str], object], url: str) -> str:
    """The error's text; nothing of it, nor of what led to it, has the password in it."""
    with pytest.raises(QueueError) as refused:
        await called(url)  # type: ignore[misc]  # one of the two above
    told = "".join(traceback.format_exception(refused.value))
    assert urlsplit(url).password not in told  # type: ignore[operator]  # each URL has one
    return str(refused.value)


@pytest.fixture
def stranger(mariadb_url: str) -> Iterator[str]:
    """The URL of somebody who may read what is there, and no more."""
    name = f"user_{uuid4().hex[:12]}"
    database = urlsplit(mariadb_url).path.removeprefix("/")
    with closing(direct(mariadb_url)) as admin:
        asked(admin, f"CREATE USER {name} IDENTIFIED BY 'hush-hush'")
        asked(admin, f"GRANT SELECT ON {database}.* TO {name}")
        yield with_user(mariadb_url, name, "hush-hush")
        asked(admin, f"DROP USER {name}")


async def test_a_wrong_password_is_told(mariadb_url: str) -> None:
    assert "check user and password" in await refusal(ensured, with_user(mariadb_url, "forebay", "quite-wrong"))


async def test_a_database_that_is_missing_is_told(mariadb_url: str) -> None:
    told = await refusal(ensured, urlunsplit(urlsplit(mariadb_url)._replace(path="/nowhere")))

    assert "CREATE DATABASE" in told


async def test_nobody_there_is_told(mariadb_url: str) -> None:
    [port] = free_ports(1)

    assert "check that MariaDB runs" in await refusal(ensured, f"mariadb://me:hush-hush@127.0.0.1:{port}/events")
    assert "check the host" in await refusal(ensured, "mariadb://me:hush-hush@nowhere.invalid/events")


async def test_tables_that_are_missing_are_told(mariadb_url: str) -> None:
    assert "forebay topics ensure" in await refusal(sent, mariadb_url)


async def test_a_server_that_is_no_mariadb_is_told(database: MariadbDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    # A MySQL says it of the first setting that it does not have, before anybody asks what it is.
    monkeypatch.setitem(database._session, "no_such_setting", 1)
    producer = SqlProducer(database)

    with pytest.raises(QueueUnavailable, match="or a MySQL, which is another system"):
        await producer.check()

    await producer.close()


async def test_who_may_not_write_is_told(mariadb_url: str, stranger: str) -> None:
    assert "CREATE to make the tables" in await refusal(ensured, stranger)
    await ensured(mariadb_url)
    assert "SELECT, INSERT, UPDATE, DELETE" in await refusal(sent, stranger)


@pytest.mark.parametrize(
    ("options", "variable"),
    [
        (("innodb-flush-log-at-trx-commit=2",), "innodb_flush_log_at_trx_commit"),
        (("innodb-flush-log-at-trx-commit=0",), "innodb_flush_log_at_trx_commit"),
        (("log-bin", "server-id=1", "sync-binlog=0"), "sync_binlog"),
    ],
)
async def test_a_server_that_answers_before_it_keeps_is_refused(
    mariadb_servers: Callable[..., Server], options: tuple[str, ...], variable: str
) -> None:
    told = await refusal(ensured, mariadb_servers(*options).url())

    assert f"SET GLOBAL {variable} = 1" in told


async def test_a_server_that_makes_tables_of_one_engine_only_is_told(mariadb_servers: Callable[..., Server]) -> None:
    told = await refusal(ensured, mariadb_servers("enforce-storage-engine=Aria").url())

    assert "enforce_storage_engine" in told
    assert "read only" not in told


async def test_a_server_that_is_set_to_answer_before_it_keeps_is_refused_from_then_on(
    mariadb_servers: Callable[..., Server],
) -> None:
    url = mariadb_servers().url()
    await ensured(url)
    producer = open_queue(QueueSettings(queue_url=url)).producer()
    await producer.send(STREAM, record(0))

    with closing(direct(url)) as admin:
        asked(admin, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        for refused in (producer.send(STREAM, record(1)), producer.check()):
            with pytest.raises(QueueError, match="SET GLOBAL innodb_flush_log_at_trx_commit = 1"):
                await refused
        asked(admin, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")

    assert (await producer.send(STREAM, record(1))).offset == 1
    await producer.close()


async def test_a_server_that_another_has_taken_over_from_is_let_go_of(mariadb_servers: Callable[..., Server]) -> None:
    """It keeps its sessions, and a user who may do everything could even write to it."""
    server = mariadb_servers()
    queue = open_queue(QueueSettings(queue_url=server.url()))
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group", session_s=60)
    partition = await send_all(producer, 1)
    await consumer.start(Follower())
    assert await fetch(consumer, 1) == [b"0"]

    with closing(direct(server.url())) as admin:
        asked(admin, "SET GLOBAL read_only = 1")
        for call in (
            producer.send(STREAM, record(1)),
            consumer.fetch(1, 0.01),
            consumer.commit({partition: Commit(offset=1)}),
        ):
            with pytest.raises(QueueUnavailable, match="name the primary"):
                await call
        asked(admin, "SET GLOBAL read_only = 0")
    await producer.send(STREAM, record(2))

    assert await fetch(consumer, 1) == [b"2"]
    await consumer.commit({partition: Commit(offset=2)})
    await consumer.close()
    await producer.close()


async def test_a_server_with_a_binary_log_that_it_keeps_is_taken(mariadb_servers: Callable[..., Server]) -> None:
    url = mariadb_servers("log-bin", "server-id=1", "sync-binlog=1").url()
    await ensured(url)
    await sent(url)


@contextmanager
def with_tls(starts: Callable[..., Server], folder: Path) -> Iterator[tuple[Server, Path]]:
    """A server with a certificate for `localhost`, and the certificate of its authority."""
    authority = Authority(folder)
    signed = authority.signed("server", ["localhost"])
    shared = Path("/tmp") / f"forebay-tls-{uuid4().hex}"  # noqa: S108 - the server's user can't read pytest's folder
    shared.mkdir(mode=0o755)
    try:
        for name, file in (("certificate", signed.certificate), ("key", signed.key)):
            shutil.copy(file, shared / name)
            (shared / name).chmod(0o644)
        yield starts(f"ssl-cert={shared}/certificate", f"ssl-key={shared}/key"), authority.certificate
    finally:
        shutil.rmtree(shared)


async def test_a_certificate_is_verified(mariadb_servers: Callable[..., Server], tmp_path: Path) -> None:
    with with_tls(mariadb_servers, tmp_path) as (server, trusted):
        named = server.url().replace("127.0.0.1", "localhost")
        stranger = Authority(tmp_path, "a stranger").certificate

        assert len(await ensured(f"{named}?ssl_ca={trusted}")) > 1
        assert "check ssl_ca" in await refusal(ensured, f"{named}?ssl_ca={stranger}")
        assert "check ssl_ca" in await refusal(ensured, f"{named}?ssl=verify")
        assert "check ssl_ca" in await refusal(ensured, f"{server.url()}?ssl_ca={trusted}")
        assert "check the files" in await refusal(ensured, f"{named}?ssl_ca={tmp_path}/missing.pem")


async def test_the_authority_s_file_is_read_at_each_connection(
    mariadb_servers: Callable[..., Server], tmp_path: Path
) -> None:
    with with_tls(mariadb_servers, tmp_path) as (server, trusted):
        url = f"{server.url().replace('127.0.0.1', 'localhost')}?ssl_ca={trusted}"
        await ensured(url)
        producer = open_queue(QueueSettings(queue_url=url)).producer()
        await producer.send(STREAM, record(0))
        good, stranger = trusted.read_bytes(), Authority(tmp_path, "a stranger").certificate.read_bytes()

        with closing(direct(server.url())) as admin:
            for content, is_known in ((stranger, False), (good, True)):
                trusted.write_bytes(content)
                ours = asked(admin, "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()")
                for (number,) in ours:
                    asked(admin, f"KILL {number}")
                if is_known:
                    await producer.check()
                else:
                    with pytest.raises(QueueUnavailable, match="check ssl_ca"):
                        await producer.check()
        await producer.close()


async def test_a_server_without_tls_is_told_when_tls_is_wanted(mariadb_servers: Callable[..., Server]) -> None:
    # From 11.4 on a server has TLS as it comes.
    server = mariadb_servers("skip-ssl")

    assert "set up TLS" in await refusal(ensured, f"{server.url()}?ssl=verify")


@pytest.mark.parametrize(
    "password", ["ex@mple", "e/x@mple", "e?x@mple", "ex/mple", "ex?mple", "ex%mple/", "1/x@mple", "[example"]
)
def test_a_password_that_is_not_escaped_is_told_without_quoting_it(password: str) -> None:
    with pytest.raises(QueueError, match="%40 for @") as refused:
        check_url(f"mariadb://forebay:{password}@db.example:3306/events")

    told = "".join(traceback.format_exception(refused.value))
    assert "mple" not in told.replace("db.example", "")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mariadb://me:hush@db.example", "names no database"),
        ("mariadb://me:hush@db.example/events?sslmode=require", "no parameter 'sslmode'"),
        ("mariadb://me:hush@db.example/events?ssl=yes", "ssl is one of"),
        ("mariadb://me:hush@db.example/events?ssl=off&ssl_ca=ca.pem", "ssl=verify only"),
        ("mariadb://me:hush@db.example/events?password_file=/run/password", "one of them must go"),
        ("mysql://me:hush@db.example/events", "write mariadb://"),
        ("mysql+pymysql://me:hush@db.example/events", "write mariadb://"),
    ],
)
def test_a_url_that_can_never_work_is_told(url: str, told: str) -> None:
    with pytest.raises(QueueError, match=told) as refused:
        check_url(url)

    assert "hush" not in str(refused.value)
