"""A broker and its clients of librdkafka, all made up, that do in any order whatever the real ones may do."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from .made_up import POISON

#: A stream and a key: what has an order.
Line = tuple[str, str]

#: The broker never takes what begins like this.
TOO_LARGE = b"too large"

#: What begins like this needs more room in a client than others, and all together need so much at most.
BIG = b"big"
_BIG, _ROOM = 6, 14

#: The stream whose topic may not be there yet.
NEW = "new"

READY = '{"brokers":{"a":{"source":"learned"}},"eos":{"idemp_state":"Assigned"}}'
NO_BROKERS = '{"brokers":{}}'


class Message:
    """Where a record was put."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


@dataclass(eq=False, slots=True)
class Sent:
    """A record in a client's hands."""

    line: Line
    value: bytes
    report: Callable[[KafkaError | None, Message | None], None]
    #: Where it stands, once it does.
    offset: int | None = None


class Broker:
    """Its log, and who writes into it."""

    room, connecting_s = (100_000, 1 << 20), 0.0

    def __init__(self) -> None:
        self.log: dict[Line, list[bytes]] = defaultdict(list)
        self._has_new = False
        self.clients: list[Client] = []
        #: What former clients had on its way, each in its order: it may still arrive.
        self.stray: list[deque[Sent]] = []
        #: What some client took.
        self.given: set[bytes] = set()
        self._is_hindered = False
        #: Streams over whose next record a client trips, if none had it yet.
        self.trips: set[str] = set()
        #: Some client got a producer's id, and may have sent something.
        self.has_let_in = False

    @property
    def client(self) -> "Client":
        return self.clients[-1]

    def producer(self, faults: object, statistics: Callable[[str], None], *, singly: bool = False) -> "Client":
        if self._is_hindered:
            raise RuntimeError("no thread")
        self.clients.append(Client(self, statistics))
        return self.client

    def has(self, stream: str) -> bool:
        return self._has_new or stream != NEW

    def make_topics(self) -> None:
        self._has_new = True

    def hinder(self) -> None:
        """Let no client be made."""
        self._is_hindered = True

    def relent(self) -> None:
        self._is_hindered = False
        self.trips.clear()

    def keep(self, sent: Sent) -> None:
        sent.offset = len(self.log[sent.line])
        self.log[sent.line].append(sent.value)

    def keep_stray(self) -> None:
        """Keep the next of what a former client sent; what is behind one that is refused comes to nothing."""
        for line in self.stray[:1]:
            if line[0].value.startswith(TOO_LARGE):
                line.clear()
            else:
                self.keep(line.popleft())
        self.stray = [line for line in self.stray[1:] + self.stray[:1] if line]


class Client:
    """Does nothing by itself: `send`, `keep`, `answer` and the like are for the tests."""

    def __init__(self, broker: Broker, told: Callable[[str], None]) -> None:
        self._broker, self._told = broker, told
        self._queued: dict[Line, deque[Sent]] = defaultdict(deque)
        self._in_flight: dict[Line, deque[Sent]] = defaultdict(deque)
        #: Lines of which an error waits to be polled: until then nothing is sent.
        self._stuck: set[Line] = set()
        self._news: deque[Callable[[], None]] = deque()
        self._is_broken = self._is_stranded = False

    # As librdkafka's.

    def produce(self, stream: str, value: bytes, key: bytes, *, on_delivery: Any, **more: object) -> None:
        if value.startswith(POISON):
            raise TypeError("no bytes")
        if self._is_broken:
            raise KafkaException(KafkaError(KafkaError._FATAL, "it broke", True))
        if stream in self._broker.trips and value not in self._broker.given:
            self._broker.trips.remove(stream)
            raise MemoryError
        if self._load + _load(value) > _ROOM:
            raise BufferError
        self._broker.given.add(value)
        line = stream, key.decode()
        self._queued[line].append(Sent(line, value, on_delivery))

    def poll(self, timeout: float) -> None:
        while self._news:
            self._news.popleft()()

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        # The wheel has `blocking` too, the wrong way round: with False it holds up the whole process.
        if in_queue:
            self._fail_all(self._queued, KafkaError._PURGE_QUEUE)
        if in_flight:
            self._broker.stray += [
                deque(one for one in line if one.offset is None) for line in self._in_flight.values()
            ]
            self._broker.stray = [line for line in self._broker.stray if line]
            self._fail_all(self._in_flight, KafkaError._PURGE_INFLIGHT)

    @property
    def _load(self) -> int:
        lines = (*self._queued.values(), *self._in_flight.values())
        return sum(_load(sent.value) for line in lines for sent in line)

    def __len__(self) -> int:
        return sum(map(len, self._queued.values())) + sum(map(len, self._in_flight.values())) + len(self._news)

    def _fail_all(self, lines: dict[Line, deque[Sent]], code: int) -> None:
        for line in lines.values():
            while line:
                self._report(line.popleft(), KafkaError(code))

    def _report(self, sent: Sent, error: KafkaError | None) -> None:
        message = Message(sent.offset or 0)
        self._news.append(lambda: sent.report(error, message))

    # What it and its broker do.

    @property
    def _is_over(self) -> bool:
        return self._is_broken or self._is_stranded

    def get_ready(self) -> None:
        if not self._is_over:
            self._broker.has_let_in = True
            self._say(READY)

    def _say(self, statistics: str) -> None:
        self._news.append(lambda: self._told(statistics))

    def send(self, line: Line) -> None:
        """Put on its way what is queued."""
        if not self._is_over and line not in self._stuck and self._broker.has(line[0]):
            self._broker.has_let_in = True
            self._in_flight[line] += self._queued[line]
            self._queued[line].clear()

    def keep(self, line: Line) -> None:
        """Keep the next of what is on its way, or refuse it."""
        sent = next((one for one in self._in_flight[line] if one.offset is None), None)
        if sent is None:
            return
        if sent.value.startswith(TOO_LARGE):
            self.err(line, KafkaError.MSG_SIZE_TOO_LARGE)
        else:
            self._broker.keep(sent)

    def answer(self, line: Line) -> None:
        """Let the client hear of what was kept."""
        while self._in_flight[line] and self._in_flight[line][0].offset is not None:
            self._report(self._in_flight[line].popleft(), None)

    def work(self, line: Line) -> None:
        """All of it, as when all is well."""
        if self._is_over:
            return
        self.send(line)
        for _ in range(len(self._in_flight[line])):
            self.keep(line)
        self.answer(line)

    def trip(self, line: Line) -> None:
        self._broker.trips.add(line[0])

    def err(self, line: Line, code: int = KafkaError._INVALID_DIFFERENT_RECORD) -> None:
        """Let the next of what is on its way come to nothing: what is behind it comes back, and waits."""
        self.answer(line)
        if not self._in_flight[line]:
            return
        self._report(self._in_flight[line].popleft(), KafkaError(code))
        self._queued[line].extendleft(reversed(self._in_flight[line]))
        self._in_flight[line].clear()
        self._stuck.add(line)
        self._news.append(lambda: self._stuck.discard(line))

    def deny(self, line: Line) -> None:
        """The same for want of a right, which is given back just then."""
        self.err(line, KafkaError.TOPIC_AUTHORIZATION_FAILED)

    def miss(self, line: Line) -> None:
        """Give up what is for a topic that is not there."""
        if not self._broker.has(line[0]) and not self._is_over:
            self._fail_all({line: self._queued[line]}, KafkaError.UNKNOWN_TOPIC_OR_PART)

    def get_no_id(self) -> None:
        """Be refused before anything was sent."""
        if not self._broker.has_let_in:
            self.break_down("Failed to acquire idempotence PID")

    def break_down(self, text: str = "it broke", *, lost: int = 0) -> None:
        """Meet a fatal error."""
        if not self._is_broken:
            self._is_broken = True
            self._news.append(lambda: self._raise(text, lost))
            self._fail_all(self._queued, KafkaError._FATAL)

    def lose_reports(self) -> None:
        """The same, and what Python makes of it swallows the next reports."""
        self.break_down(lost=2)

    def _raise(self, text: str, lost: int) -> None:
        for _ in range(min(lost, len(self._news))):
            self._news.popleft()
        raise SystemError if lost else KafkaException(KafkaError(KafkaError._FATAL, text, True))

    def strand(self) -> None:
        """Lose every broker."""
        self._is_stranded = True
        self._say(NO_BROKERS)
        self._say(NO_BROKERS)


def _load(value: bytes) -> int:
    return _BIG if value.startswith(BIG) else 1
