"""The SQL queue: its promises, its streams, and its parts."""

from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial

from sqlalchemy import Connection

from forebay.queues.contract import Consumer, Inspector, Producer, Promises, Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.portals.contract import PortalStore
from forebay.queues.presence import streams_found
from forebay.queues.settings import QueueSettings
from forebay.schemas import names

from ..groups.consumer import NOTE_BYTES
from ..groups.retention import Retention
from ..threads.connection_thread import Lives
from .connection_thread import connection_thread
from .consumer import SqlConsumer
from .database import TABLES, Database
from .inspector import SqlInspector
from .opening import open_database
from .portals import SqlPortalStore
from .producer import SqlProducer
from .retention import trim
from .schema import find, make, missing, missing_all


class SqlQueue:
    """Streams in the tables of one database."""

    promises = Promises(durable=True, ordered=True, groups=True, shared=True, replay=True, note_bytes=NOTE_BYTES)

    def __init__(self, database: Database, retention: Retention) -> None:
        self._database, self._retention = database, retention
        # Of all that reads here and would not hear that others have gone on to another server.
        self._lives = Lives()

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract; makes no file."""
        names = list(streams)
        if not self._database.exists():
            return [f"database {self._database.name}", *missing_all(names, partitions)]
        thread = connection_thread(self._database, "forebay-schema")
        return await thread.run_and_close(lambda connection: missing(self._database, connection, names, partitions))

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        names = list(streams)
        made = [] if self._database.exists() else [f"database {self._database.name}"]
        self._create()
        thread = connection_thread(self._database, "forebay-schema")
        return made + await thread.run_and_close(lambda connection: self._make(connection, names, partitions))

    def _create(self) -> None:
        try:
            self._database.create()
        except OSError as error:
            raise QueueUnavailable(
                f"{self._database.name} can't be made: {error.strerror}; look at data_dir and queue_url"
            ) from error

    def _make(self, connection: Connection, names: list[str], partitions: int) -> list[str]:
        with self._database.writing(connection, alone=TABLES):
            return make(self._database, connection, names, partitions)

    async def diagnose(self, needs: Needs) -> AsyncIterator[Finding]:
        """As in the contract."""
        yield await streams_found(self, needs)
        if not self._database.exists():
            return
        thread = connection_thread(self._database, "forebay-doctor")
        for finding in await thread.run_and_close(partial(self._findings, needs)):
            yield finding

    def _findings(self, needs: Needs, connection: Connection) -> list[Finding]:
        return list(self._database.findings(connection, needs))

    async def trim(self, stream: str, before: Mapping[int, int]) -> bool:
        """As in `Trims`."""
        thread = connection_thread(self._database, "forebay-trim")
        keep_ms = self._retention.keep_ms
        return await thread.run_and_close(
            lambda connection: trim(self._database, connection, find(connection, stream), before, keep_ms)
        )

    def producer(self) -> Producer:
        """As in the contract."""
        return SqlProducer(self._database)

    def consumer(self, stream: str, group: str, *, session_s: float = 10.0) -> Consumer:
        """As in the contract."""
        return SqlConsumer(
            self._database, stream, group, session_s=session_s, retention=self._retention, lives=self._lives
        )

    def inspector(self) -> Inspector:
        """As in the contract."""
        return SqlInspector(self._database, self._lives)

    def portals(self, topic: str) -> PortalStore:
        """As in the contract."""
        return SqlPortalStore(self._database, names.portals(topic))

    async def close(self) -> None:
        """As in the contract: the parts share nothing."""


def open_queue(settings: QueueSettings) -> Queue:
    """The queue that the setting `queue_url` names."""
    return SqlQueue(open_database(settings.queue_url), Retention.of(settings))
