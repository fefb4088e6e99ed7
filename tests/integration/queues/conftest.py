"""A queue in a database of its own for each test, in each system that the SQL queue serves."""

from pathlib import Path

import pytest

from forebay.queues.contract import Queue
from forebay.queues.sql.address import path_of
from forebay.queues.sql.database import Database
from forebay.queues.sql.mariadb.database import MariadbDatabase
from forebay.queues.sql.postgresql.database import PostgresqlDatabase
from forebay.queues.sql.sqlite.database import SqliteDatabase
from tests.integration.queue_fixtures import producer as producer
from tests.integration.queue_fixtures import queue as queue


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/queue.db"
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def database(url: str, queue: Queue) -> Database:
    if url.startswith("sqlite"):
        return SqliteDatabase(path_of(url), busy_s=0.1)
    return MariadbDatabase(url) if url.startswith("mariadb") else PostgresqlDatabase(url)
