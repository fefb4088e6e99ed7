"""What PostgreSQL refuses, told with what to do about it, and never with a password."""

import os
import shutil
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest

from forebay.queues import opening
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.certificates import Authority
from tests.databases.server import PASSWORD, with_user
from tests.integration.queues.members import PARTITIONS, STREAM, record
from tests.ports import free_ports
from tests.postgresql.fixtures import Postgresql
from tests.postgresql.server import Server

Called = Callable[[str], Coroutine[Any, Any, object]]


async def ensured(url: str) -> object:
    return await open_queue(QueueSettings(queue_url=url)).ensure([STREAM], PARTITIONS)


async def sent(url: str) -> object:
    producer = open_queue(QueueSettings(queue_url=url)).producer()
    try:
        return await producer.send(STREAM, record(0))
    finally:
        await producer.close()


async def refusal(called: Called, url: str, secret: str = PASSWORD) -> str:
    """The error's text; nothing of it, nor of what led to it, has the password in it."""
    with pytest.raises(QueueUnavailable) as refused:
        await called(url)
    told = "".join(traceback.format_exception(refused.value))
    parts = urlsplit(url)
    assert secret not in told
    assert not parts.password or parts.password not in told
    return str(refused.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody with few rights."""

    name: str
    url: str


@pytest.fixture
def user(postgresql_url: str) -> Iterator[User]:
    name = f"user_{uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'hush'")
        # As databases are since PostgreSQL 15.
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        yield User(name=name, url=with_user(postgresql_url, name, "hush"))
        admin.execute(f"DROP OWNED BY {name}")
        admin.execute(f"DROP ROLE {name}")


async def test_a_wrong_password_is_told(postgresql_url: str) -> None:
    told = await refusal(ensured, with_user(postgresql_url, "forebay", "quite-wrong"))

    assert "check user and password in queue_url" in told


async def test_a_database_that_is_missing_is_told(postgresql: Postgresql) -> None:
    told = await refusal(ensured, urlunsplit(urlsplit(postgresql.url)._replace(path="/nowhere")))

    assert 'database "nowhere" does not exist' in told
    assert "CREATE DATABASE" in told


async def test_a_server_that_is_not_there_is_told() -> None:
    [port] = free_ports(1)

    told = await refusal(ensured, f"postgresql://forebay:hush@127.0.0.1:{port}/events")

    assert f"postgresql://127.0.0.1:{port}/events says" in told
    assert "check that PostgreSQL runs" in told


async def test_a_host_that_has_no_address_is_told() -> None:
    told = await refusal(ensured, "postgresql://forebay:hush@nowhere.invalid/events")

    assert "check the host in queue_url" in told


async def test_who_may_not_make_tables_is_told(user: User) -> None:
    told = await refusal(ensured, user.url, "hush")

    assert "permission denied for schema public" in told
    assert "CREATE ON SCHEMA" in told


async def test_who_may_not_write_is_told_and_then_may(postgresql_url: str, user: User) -> None:
    await ensured(postgresql_url)

    told = await refusal(sent, user.url, "hush")
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        for table in ("meta", "stream", "partition", "record", "claim", "member"):
            admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON forebay_{table} TO {user.name}")
        admin.execute(f"GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {user.name}")
    await sent(user.url)
    made = await ensured(user.url)

    assert "SELECT, INSERT, UPDATE, DELETE" in told
    assert made == []


async def test_a_server_that_is_read_only_is_told(postgresql_url: str, user: User) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(f"GRANT CREATE ON SCHEMA public TO {user.name}")
        admin.execute(f"ALTER ROLE {user.name} SET default_transaction_read_only = on")

    told = await refusal(ensured, user.url, "hush")

    assert "all hosts by commas" in told


async def test_of_several_hosts_the_one_that_takes_writes_is_found(postgresql_servers: Callable[..., Server]) -> None:
    primary, standby = postgresql_servers(), postgresql_servers()
    standby.stop()
    (standby.data / "standby.signal").touch()
    standby.start()
    standby.wait_ready()
    hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"

    assert await ensured(primary.url().replace(f"127.0.0.1:{primary.port}", hosts))


async def test_what_a_record_has_is_in_no_error(postgresql_url: str) -> None:
    await ensured(postgresql_url)
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute("ALTER TABLE forebay_record ADD CONSTRAINT strange CHECK (timestamp_ms < 0)")

    told = await refusal(sent, postgresql_url)

    assert 'violates check constraint "strange"' in told
    assert record(0).key.encode().hex() not in told


async def test_tables_that_are_missing_are_told(postgresql_url: str) -> None:
    told = await refusal(sent, postgresql_url)

    assert "forebay topics ensure" in told


async def test_a_server_without_tls_is_told_when_tls_is_wanted(postgresql: Postgresql) -> None:
    postgresql.ours()

    told = await refusal(ensured, f"{postgresql.url}?sslmode=require")

    assert "ssl = on" in told


@contextmanager
def with_tls(server: Server, folder: Path) -> Iterator[Path]:
    """The server with a certificate for `localhost`; gives the certificate of its authority."""
    authority = Authority(folder)
    signed = authority.signed("server", ["localhost"])
    for name, file in (("server.crt", signed.certificate), ("server.key", signed.key)):
        placed = server.data / name
        shutil.copy(file, placed)
        placed.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(placed, "postgres", "postgres")
    server.stop()
    with (server.data / "postgresql.conf").open("a") as settings:
        settings.write("ssl = on\n")
    server.start()
    server.wait_ready()
    yield authority.certificate


async def test_a_certificate_is_verified(postgresql_servers: Callable[..., Server], tmp_path: Path) -> None:
    server = postgresql_servers()
    with with_tls(server, tmp_path) as trusted:
        named = server.url("postgres").replace("127.0.0.1", "localhost") + "?sslmode=verify-full&sslrootcert="
        stranger = Authority(tmp_path, "a stranger").certificate

        assert len(await ensured(f"{named}{trusted}")) > 1  # type: ignore[arg-type]
        assert "check sslrootcert" in await refusal(ensured, f"{named}{stranger}")
        assert "name the file" in await refusal(ensured, f"{named}{tmp_path}/missing.pem")
        by_address = f"{server.url()}?sslmode=verify-full&sslrootcert={trusted}"
        assert "name the server in queue_url as its certificate does" in await refusal(ensured, by_address)


@pytest.mark.parametrize(
    "password", ["ex@mple", "e/x@mple", "e?x@mple", "ex/mple", "ex?mple", "ex%mple", "1/x@mple", "[example", "ex mple"]
)
def test_a_password_that_is_not_escaped_is_told_without_quoting_it(password: str) -> None:
    with pytest.raises(QueueError, match="%40 for @") as refused:
        open_queue(QueueSettings(queue_url=f"postgresql://forebay:{password}@db.example:5432/events"))

    told = "".join(traceback.format_exception(refused.value))
    assert "mple" not in told.replace("db.example", "")


def test_a_url_without_a_database_is_told() -> None:
    with pytest.raises(QueueError, match="names no database"):
        open_queue(QueueSettings(queue_url="postgresql://forebay:hush@db.example"))


def test_a_client_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)

    with pytest.raises(QueueError, match=r"pip install 'forebay\[postgresql\]'"):
        open_queue(QueueSettings(queue_url="postgresql://db.example/events"))


def test_a_client_without_what_it_stands_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def imported(name: str) -> None:
        raise ImportError("no pq wrapper available")

    monkeypatch.setattr(opening, "resolve_name", imported)

    with pytest.raises(QueueError, match=r"no pq wrapper available.*pip install 'forebay\[postgresql\]'"):
        opening.check_url("postgresql://db.example/events")
    with pytest.raises(QueueError, match=r"no pq wrapper available.*pip install 'forebay\[postgresql\]'"):
        open_queue(QueueSettings(queue_url="postgresql://db.example/events"))
