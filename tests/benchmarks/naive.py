"""What somebody writes in an hour, as the baseline of the latency: Falcon in front of Kafka, and a loop behind it.

Started as `naive.py serve PORT BOOTSTRAP TOPIC` and `naive.py consume BOOTSTRAP TOPIC BOOK`.
"""

import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Mapping
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

import falcon.asgi
from confluent_kafka import Consumer, KafkaError, Message, Producer
from falcon.asgi import Request, Response
from gunicorn.app.base import BaseApplication


class Events:
    """Parses a form, sends it as JSON, and answers when the broker has it. A thread waits for the reports."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic

    async def process_startup(self, scope: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        """Make the producer, after the fork."""
        self._producer = Producer({"bootstrap.servers": self._bootstrap, "acks": "all", "enable.idempotence": True})
        Thread(target=self._poll, daemon=True).start()

    def _poll(self) -> None:
        while True:
            self._producer.poll(0.1)

    async def on_post(self, request: Request, response: Response) -> None:
        """One event."""
        fields = dict(parse_qsl((await request.stream.read()).decode(), keep_blank_values=True))
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[int] = loop.create_future()

        def report(error: KafkaError | None, message: Message) -> None:
            loop.call_soon_threadsafe(kept.set_result, message.offset() or 0)

        value = json.dumps(fields).encode()
        self._producer.produce(self._topic, value, fields["auth[domain]"].encode(), on_delivery=report)
        response.media = {"status": "accepted", "id": str(await kept)}


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """One gunicorn worker of the kind that ours is made of."""

    def __init__(self, port: str, events: Events) -> None:
        self._port, self._events = port, events
        super().__init__()

    def load_config(self) -> None:
        """As ours, as far as it matters."""
        found = {"bind": f"127.0.0.1:{self._port}", "worker_class": "asgi", "asgi_loop": "uvloop", "keepalive": 75}
        for name, value in {**found, "control_socket_disable": True}.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Falcon and one route."""
        app: Any = falcon.asgi.App(middleware=[self._events])
        app.add_route("/bitrix24", self._events)
        return app


def consume(bootstrap: str, topic: str, book: str) -> None:
    """Handle one record after the other, and have the client commit by itself."""
    file = os.open(book, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    client = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    client.subscribe([topic])
    while True:
        message = client.poll(1.0)
        if message is not None and message.error() is None:
            due = json.loads(message.value() or b"")["data[FIELDS][ID]"]
            os.write(file, struct.pack("qq", int(due), time.monotonic_ns()))


def main(role: str, *arguments: str) -> None:
    """Serve or consume until told to stop."""
    if role == "consume":
        consume(*arguments)
    port, bootstrap, topic = arguments
    Server(port, Events(bootstrap, topic)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
