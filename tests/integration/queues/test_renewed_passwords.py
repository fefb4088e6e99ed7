"""A password that stands in a file and is renewed while everything runs: the next connection logs in with it."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, record
from tests.mariadb import server as mariadb
from tests.redis import server as redis

FIRST, RENEWED = "first-hush", "renewed-hush"


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user of its own at a server."""

    #: Without a password, which stands in the file.
    url: str
    #: Have the server take another password from the next login on, and end all connections of the user.
    renew: Callable[[str], None]


def _at(url: str, user: str, parameter: str) -> str:
    """The URL for the user, with the parameter behind it."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}@{parts.hostname}:{parts.port}", query=parameter).geturl()


def _postgresql(request: pytest.FixtureRequest, user: str, file: Path) -> Iterator[Login]:
    url = request.getfixturevalue("postgresql_url")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{FIRST}'")
        admin.execute(f"GRANT ALL ON SCHEMA public TO {user}")

        def renew(password: str) -> None:
            admin.execute(f"ALTER ROLE {user} PASSWORD '{password}'")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [user])

        yield Login(url=_at(url, user, f"passfile={file}"), renew=renew)
        admin.execute(f"DROP OWNED BY {user}")
        admin.execute(f"DROP ROLE {user}")


def _mariadb(request: pytest.FixtureRequest, user: str, file: Path) -> Iterator[Login]:
    url = request.getfixturevalue("mariadb_url")
    with closing(mariadb.direct(url)) as admin:
        mariadb.asked(admin, f"CREATE USER {user} IDENTIFIED BY '{FIRST}'")
        mariadb.asked(admin, f"GRANT ALL ON {urlsplit(url).path.removeprefix('/')}.* TO {user}")

        def renew(password: str) -> None:
            mariadb.asked(admin, f"ALTER USER {user} IDENTIFIED BY '{password}'")
            mariadb.asked(admin, f"KILL CONNECTION USER {user}")

        yield Login(url=_at(url, user, f"password_file={file}"), renew=renew)
        mariadb.asked(admin, f"DROP USER {user}")


def _redis(request: pytest.FixtureRequest, user: str, file: Path) -> Iterator[Login]:
    url = request.getfixturevalue("redis_url")
    with closing(redis.direct(url)) as admin:
        admin.execute_command("ACL", "SETUSER", user, "on", f">{FIRST}", "~*", "&*", "+@all")

        def renew(password: str) -> None:
            admin.execute_command("ACL", "SETUSER", user, "resetpass", f">{password}")
            admin.execute_command("CLIENT", "KILL", "USER", user)

        yield Login(url=_at(url, user, f"password_file={file}"), renew=renew)
        admin.execute_command("ACL", "DELUSER", user)


def _rabbitmq(request: pytest.FixtureRequest, user: str, file: Path) -> Iterator[Login]:
    url, server = request.getfixturevalue("rabbitmq_url"), request.getfixturevalue("rabbitmq")
    server.control("add_user", user, FIRST)
    server.control("set_permissions", "-p", "/", user, ".*", ".*", ".*")

    def renew(password: str) -> None:
        server.control("change_password", user, password)
        server.control("close_all_user_connections", user, "the password was renewed")

    yield Login(url=_at(url, user, f"password_file={file}"), renew=renew)
    server.control("delete_user", user)


@pytest.fixture(params=[_postgresql, _mariadb, _redis, _rabbitmq], ids=lambda made: made.__name__.strip("_"))
def login(request: pytest.FixtureRequest, file: Path) -> Iterator[Login]:
    yield from request.param(request, f"user_{uuid4().hex[:12]}", file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    return path


async def test_who_runs_goes_on_by_a_password_that_was_renewed_in_its_file(login: Login, file: Path) -> None:
    _write(file, FIRST, login)
    queue, follower = open_queue(QueueSettings(queue_url=login.url)), Follower()
    await queue.ensure([STREAM], PARTITIONS)
    producer, consumer = queue.producer(), queue.consumer(STREAM, "group")
    await consumer.start(follower)
    await follower.owns(PARTITIONS)
    await producer.send(STREAM, record(0))

    _write(file, RENEWED, login)
    login.renew(RENEWED)
    sent = False
    while not sent:
        with suppress(QueueUnavailable):
            await producer.send(STREAM, record(1))
            sent = True
    found: list[bytes] = []
    while b"1" not in found:
        with suppress(QueueUnavailable):
            found += [one.value for one in await consumer.fetch(10, 30.0)]

    for one in (producer, consumer, queue):
        await one.close()


async def test_a_file_that_is_away_is_told(login: Login, file: Path) -> None:
    file.unlink()
    queue = open_queue(QueueSettings(queue_url=login.url))

    with pytest.raises(QueueUnavailable) as told:
        await queue.ensure([STREAM], PARTITIONS)

    assert ("no password supplied" if "passfile" in login.url else str(file)) in str(told.value)
    await queue.close()


def _write(file: Path, password: str, login: Login) -> None:
    # libpq's own form: host, port, database and user, each of which may be anything.
    file.write_text(f"*:*:*:*:{password}\n" if "passfile" in login.url else f"{password}\n", "utf-8")
