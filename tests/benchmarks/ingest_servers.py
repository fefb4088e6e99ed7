"""Started by the ingest's benchmark: one of the servers that it compares.

Arguments: which one, a port, a folder for its files, and for the queue that costs nothing no URL of one.
"""

import sys
from collections.abc import Iterable
from typing import Any

import falcon.asgi
from falcon.asgi import Request, Response

from forebay.ingest import server
from forebay.ingest.settings import IngestSettings
from forebay.queues.contract import Delivery, Position, Record

TOKEN = "51856fefc120afa4b628cc82d3935cce"
KEY = "A" * 43 + "="


class NoOp:
    """Reads a call and drops it."""

    async def on_post(self, request: Request, response: Response) -> None:
        """An answer as long as the real one."""
        await request.stream.read()
        response.data = b'{"status":"accepted","id":"00000000-0000-0000-0000-000000000000"}'


class NoOpServer(server.Server):
    """The same gunicorn with the same settings, and nothing behind it."""

    def load(self) -> Any:
        """Falcon and one route."""
        app: Any = falcon.asgi.App()
        app.add_route("/bitrix24", NoOp())
        return app


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

    def producer(self) -> NowhereProducer:
        """A new one."""
        return NowhereProducer()

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """All is there."""
        return []

    async def close(self) -> None:
        """Nothing to do."""


def main(which: str, port: str, folder: str, queue_url: str = "") -> None:
    """Serve until told to stop."""
    given: dict[str, Any] = {"auth": "tokens", "tokens": {"*": TOKEN}, "data_dir": folder}
    if which == "sealing":
        given["seal_keys"] = {"k": KEY}
    if which == "no-op":
        server.Server = NoOpServer  # type: ignore[misc]  # on purpose
    if queue_url:
        given["queue_url"] = queue_url
    else:
        server.open_queue = lambda settings: NowhereQueue()  # type: ignore[attr-defined,assignment,return-value]  # on purpose
    server.serve(IngestSettings(bind=f"127.0.0.1:{port}", **given))


if __name__ == "__main__":
    main(*sys.argv[1:])
