"""A client of librdkafka that is made up, and who gives it out."""

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

POISON = b"poison"


class Message:
    """A record that is reported."""

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


class Client:
    """Trips over one record; says what it is told to, and reports the others, when it is polled and once it may."""

    def __init__(self, told: Callable[[str], None], *, may_report: bool) -> None:
        self._told, self.may_report = told, may_report
        #: How it trips.
        self.trips: Exception = MemoryError()
        #: What is reported of each from now on; None: that it is kept.
        self.error: KafkaError | None = None
        self.taken: list[bytes] = []
        #: The partition that was said with each; below 0 where the client is to choose.
        self.places: list[int] = []
        #: Statistics that are still to be told.
        self.says: list[str] = []
        self._due: list[Callable[[KafkaError | None, Message], None]] = []

    def produce(
        self, stream: str, value: bytes, key: bytes, *, on_delivery: Any, partition: int, **more: object
    ) -> None:
        if value == POISON:
            raise self.trips
        self.taken.append(value)
        self.places.append(partition)
        self._due.append(on_delivery)

    def poll(self, timeout: float) -> None:
        while self.says:
            self._told(self.says.pop(0))
        while self.may_report and self._due:
            self._due.pop(0)(self.error, Message())

    def purge(self, **how: bool) -> None:
        self._due.clear()

    def __len__(self) -> int:
        return len(self._due)


class Made:
    """Gives out a client that reports nothing until it may, and then well ones."""

    room, connecting_s = (100_000, 1 << 20), 0.0

    def __init__(self) -> None:
        self.clients: list[Client] = []

    def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> Client:
        self.clients.append(Client(statistics, may_report=bool(self.clients)))
        return self.clients[-1]
