"""A target that lets something happen while it is moved into."""

from collections.abc import Callable

from forebay.queues.contract import Delivery, Position, Producer, Record
from forebay.queues.errors import QueueError
from forebay.queues.memory import MemoryProducer, MemoryQueue


class ListeningQueue(MemoryQueue):
    """Does something before it takes a record."""

    def __init__(self, before: Callable[[Record], None]) -> None:
        super().__init__()
        self._before = before

    def producer(self) -> Producer:
        return _Listening(self, self._before)


class _Listening(MemoryProducer):
    def __init__(self, queue: MemoryQueue, before: Callable[[Record], None]) -> None:
        super().__init__(queue)
        self._before = before

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        self._before(record)
        super().submit(stream, record, delivery)


def put_now(queue: MemoryQueue, stream: str, record: Record) -> None:
    """Let it have the record, without waiting."""
    MemoryProducer(queue).submit(stream, record, _Unheard())


class _Unheard:
    def done(self) -> bool:
        return False

    def set_result(self, position: Position, /) -> None:
        """Nobody asks where."""

    def set_exception(self, error: QueueError, /) -> None:
        raise error
