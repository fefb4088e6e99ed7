"""Started by the ingest's benchmark: one of the servers that it compares, on Forebay's own gunicorn.

Arguments: which one, a port, a folder for its files, and for `bare` a bootstrap address and a topic.
"""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import falcon.asgi
from falcon.asgi import Request, Response
from gunicorn.workers.gasgi import ASGIWorker

from forebay.ingest import server
from forebay.ingest.settings import IngestSettings
from forebay.ingest.stopping import EarlyStop
from forebay.queues.contract import Delivery, Position, Queue, Record
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import PortalStore
from forebay.queues.portals.memory import FactLog, MemoryPortalStore
from forebay.queues.settings import QueueSettings

TOKEN = "51856fefc120afa4b628cc82d3935cce"
KEY = "A" * 43 + "="
DOMAIN, NS_PER_MS = b"&auth%5Bdomain%5D=", 1_000_000


class NoOp:
    """Reads a call and drops it."""

    async def on_post(self, request: Request, response: Response) -> None:
        """An answer as long as the real one."""
        await request.stream.read()
        response.data = b'{"status":"accepted","id":"00000000-0000-0000-0000-000000000000"}'


class Bare:
    """Sends a call's body to Kafka as it is, with Forebay's producer: what every ingest for Kafka has to do."""

    def __init__(self, queue: Queue, topic: str) -> None:
        self._queue, self._topic = queue, topic

    async def process_startup(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Make the producer, after the fork."""
        self._producer = self._queue.producer()

    async def on_post(self, request: Request, response: Response) -> None:
        """The portal is cut out; nothing is parsed, checked, sealed, counted or encoded."""
        body = await request.stream.read()
        key = body.partition(DOMAIN)[2].partition(b"&")[0].decode()
        record = Record(key=key, value=body, timestamp_ms=time.time_ns() // NS_PER_MS)
        await self._producer.send(self._topic, record)
        response.data = b'{"status":"accepted","id":"00000000-0000-0000-0000-000000000000"}'


class ServerOf(server.Server):
    """The same gunicorn with the same settings, and one resource behind it."""

    def __init__(self, resource: Any, settings: IngestSettings) -> None:
        self._resource = resource
        super().__init__(settings, str(settings.data_dir), lambda: None, EarlyStop())

    def load(self) -> Any:
        """Falcon and one route."""
        app: Any = falcon.asgi.App(middleware=[self._resource] if hasattr(self._resource, "process_startup") else [])
        app.add_route("/bitrix24", self._resource)
        return app


class PlainWorker(ASGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own, with what our master wants to know of one."""

    begun, serves, is_leaving = 0.0, True, False


class PlainServerOf(ServerOf):
    """The same on gunicorn's own worker, with gunicorn's own log: what our server costs or saves."""

    def load_config(self) -> None:
        """Only these two are gunicorn's."""
        super().load_config()
        self.cfg.set("worker_class", PlainWorker)
        self.cfg.set("logger_class", "gunicorn.glogging.Logger")


class NowhereProducer:
    """Takes every record at once: what remains is the ingest's own cost."""

    async def send(self, stream: str, record: Record) -> Position:
        """Forget it."""
        return Position(partition=0, offset=0)

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """Forget it."""
        delivery.set_result(Position(partition=0, offset=0))

    async def check(self) -> None:
        """Always there."""

    async def close(self) -> None:
        """Nothing to do."""


class NowhereQueue:
    """Makes such producers."""

    def __init__(self) -> None:
        self._facts = FactLog("portals")

    def producer(self) -> NowhereProducer:
        """A new one."""
        return NowhereProducer()

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """All is there."""
        return []

    def portals(self, topic: str) -> PortalStore:
        """In memory: each portal has a key of its own for what is sealed."""
        return MemoryPortalStore(self._facts)

    async def close(self) -> None:
        """Nothing to do."""


def main(which: str, port: str, folder: str, bootstrap: str = "", topic: str = "") -> None:
    """Serve until told to stop."""
    given: dict[str, Any] = {"auth": "tokens", "tokens": {"*": TOKEN}, "data_dir": folder}
    if which == "sealing":
        given["seal_keys"] = {"k": KEY}
    settings = IngestSettings(bind=f"127.0.0.1:{port}", **given)
    if which == "no-op":
        ServerOf(NoOp(), settings).run()
    if which == "plain":
        PlainServerOf(NoOp(), settings).run()
    if which == "bare":
        queue = open_queue(QueueSettings(queue_url=f"kafka://{bootstrap}"))
        ServerOf(Bare(queue, topic), settings).run()
    server.open_queue = lambda settings: NowhereQueue()  # type: ignore[attr-defined,assignment,return-value]  # on purpose
    server.serve(settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
