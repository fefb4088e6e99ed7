"""Every queue that there is, fresh each time, and where its records stand on disk. Another queue is another line."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.databases.shared import Shared
from tests.kafka.fixtures import Kafka
from tests.mariadb import server as mariadb
from tests.mariadb.fixtures import Mariadb
from tests.memcached import server as memcached
from tests.postgresql import server as postgresql
from tests.postgresql.fixtures import Postgresql
from tests.redis import server as redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An empty queue, and the files that grow by its records; none where there are none, or we don't see them."""

    url: str
    files: tuple[Path, str] | None = None

    def bytes_on_disk(self) -> int:
        """What the files take, logs that are written over again and again left out."""
        if self.files is None:
            return 0
        folder, pattern = self.files
        return sum(path.stat().st_blocks * 512 for path in folder.glob(pattern) if path.is_file())


#: Gets the request of a test, for fixtures, an empty folder, and the name of the stream.
Fresh = Callable[[pytest.FixtureRequest, Path, str], AbstractContextManager[Place]]


@contextmanager
def _memory(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    yield Place(url=f"memory://{uuid4().hex}")


@contextmanager
def _sqlite(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    yield Place(url=f"sqlite:///{folder}/queue.db", files=(folder, "queue.db"))


@contextmanager
def _postgresql(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    shared: Postgresql = request.getfixturevalue("postgresql")
    with postgresql.fresh_database(shared.url) as url:
        yield Place(url=url, files=(shared.server.data, "base/*/*") if shared.server else None)


@contextmanager
def _mariadb(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    shared: Mariadb = request.getfixturevalue("mariadb")
    with mariadb.fresh_database(shared.url) as url:
        yield Place(url=url, files=(shared.server.data, "forebay_*/*.ibd") if shared.server else None)


@contextmanager
def _redis(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    shared: Shared[redis.RedisServer] = request.getfixturevalue("redis_server")
    redis.empty(shared.url)
    # What it deletes stays in its file until it writes that anew, so that the file says nothing of one run.
    yield Place(url=shared.url)


@contextmanager
def _memcached(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    server: memcached.MemcachedServer = request.getfixturevalue("memcached_servers")("-m", "512")
    yield Place(url=server.url())


@contextmanager
def _rabbitmq(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    yield Place(url=request.getfixturevalue("rabbitmq_url"))


@contextmanager
def _kafka(request: pytest.FixtureRequest, folder: Path, stream: str) -> Iterator[Place]:
    shared: Kafka = request.getfixturevalue("kafka")
    files = (shared.cluster.folder, f"node-1/log/{stream}-*/*.log") if shared.cluster else None
    yield Place(url=f"kafka://{shared.bootstrap}", files=files)


#: What the others are compared with: everybody has it.
BASELINE = "SQLite"

QUEUES: dict[str, Fresh] = {
    BASELINE: _sqlite,
    "memory (tests)": _memory,
    "PostgreSQL": _postgresql,
    "MariaDB": _mariadb,
    "Redis": _redis,
    "RabbitMQ": _rabbitmq,
    "Kafka": _kafka,
    "Memcached": _memcached,
}
