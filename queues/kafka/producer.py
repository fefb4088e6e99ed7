"""The writing side: idempotent, acknowledged by all copies in sync, reported on the event loop in batches."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable

from .clients import Clients
from .faults import Faults, cause, of_record
from .topics import Topics

#: Between two looks for reports while any is due, and while none is (then only complaints may come).
_LOOK_S = 0.001
_IDLE_LOOK_S = 0.25

#: How long `check` waits for an answer of the brokers, and then for the producer's id.
_CHECK_S = 2.0

#: Between two looks for the producer's id.
_WARMING_S = 0.02

#: In librdkafka's statistics: before it is `Assigned`, no record of an idempotent producer is sent.
_STATE = re.compile(r'"idemp_state": ?"(\w+)"')
_WARM = "Assigned"


class KafkaProducer:
    """One client of librdkafka, polled on the loop: no thread of ours, and no hop for a record."""

    def __init__(
        self, clients: Clients, topics: Topics, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._topics, self._sleep = topics, sleep
        self._faults = Faults()
        self._client = clients.producer(self._faults, self._read_statistics)
        self._in_flight = 0
        self._held: list[tuple[str, Record, Delivery]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._next_look: asyncio.TimerHandle | None = None
        self._state = "Init"
        self._is_closed = False
        with suppress(RuntimeError):
            # Statistics and complaints pile up while nobody looks. Outside of a loop, the first call begins.
            self._look_in(_IDLE_LOOK_S)

    async def send(self, stream: str, record: Record) -> Position:
        """As in the contract."""
        delivered: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self.submit(stream, record, delivered)
        return await delivered

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract."""
        if self._is_closed:
            raise QueueUnavailable("this producer was closed")
        if not self._held:
            asyncio.get_running_loop().call_soon(self._produce_held)
        self._held.append((stream, record, delivery))
        self._in_flight += 1
        if self._in_flight == 1:
            self._idle.clear()
            self._look_in(_LOOK_S)

    def _produce_held(self) -> None:
        held, self._held = self._held, []
        for stream, record, delivered in held:
            try:
                self._produce(stream, record, partial(self._report, stream, delivered))
            except QueueError as error:
                self._in_flight -= 1
                if not delivered.done():
                    delivered.set_exception(error)
        self._client.poll(0)

    def _produce(self, stream: str, record: Record, on_delivery: Callable[[KafkaError | None, Message], None]) -> None:
        try:
            self._client.produce(
                stream,
                record.value,
                record.key.encode(),
                on_delivery=on_delivery,
                timestamp=record.timestamp_ms,
                headers=list(record.headers),
            )
        except BufferError as error:
            raise QueueUnavailable("too much waits for Kafka already (queue.buffering.max.kbytes)") from error
        except KafkaException as error:
            raise of_record(cause(error), stream, self._faults) from error

    def _report(self, stream: str, delivered: Delivery, error: KafkaError | None, message: Message) -> None:
        self._in_flight -= 1
        # It may be done already: a call that was cancelled doesn't take its record back.
        if delivered.done():
            return
        if error is None:
            delivered.set_result(Position(partition=message.partition() or 0, offset=message.offset() or 0))
        else:
            delivered.set_exception(of_record(error, stream, self._faults))

    def _look(self) -> None:
        self._client.poll(0)
        self._look_in(_LOOK_S if self._in_flight else _IDLE_LOOK_S)
        if not self._in_flight:
            self._idle.set()

    def _look_in(self, seconds: float) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = asyncio.get_running_loop().call_later(seconds, self._look)

    async def check(self) -> None:
        """As in the contract: the brokers answer, every partition has a leader, and the first record won't wait."""
        await self._topics.check(_CHECK_S)
        if self._next_look is None:
            self._look_in(_IDLE_LOOK_S)
        looks = int(_CHECK_S / _WARMING_S)
        while self._state != _WARM and looks:
            self._client.poll(0)
            await self._sleep(_WARMING_S)
            looks -= 1
        if self._state != _WARM:
            text = f"the producer is not ready: its state is {self._state}; look at __transaction_state, or restart"
            raise QueueUnavailable(text)

    def _read_statistics(self, statistics: str) -> None:
        found = _STATE.search(statistics)
        self._state = found[1] if found else self._state

    async def close(self) -> None:
        """As in the contract; cancelled, it gives up what is not acknowledged yet."""
        self._is_closed = True
        try:
            await self._idle.wait()
        finally:
            if self._next_look is not None:
                self._next_look.cancel()
            self._client.purge()
            self._client.poll(0)
