"""The writing side: idempotent, acknowledged by all copies in sync, reported on the event loop in batches."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

from confluent_kafka import KafkaError, KafkaException, Message

from forebay.queues.contract import Delivery, Position, Producer, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, UnknownStream, anew
from forebay.schemas.logger import get_logger
from forebay.schemas.portal import partition_of

from .clients import Clients
from .faults import cause, is_fatal, is_of_batch, is_of_stream, of_record, sentence
from .outcomes import Outcomes
from .placement import Placement
from .producer_client import ProducerClient
from .statistics import WARM
from .succession import Succession
from .topics import Topics

log = get_logger(__name__)

#: Between two looks for reports while any is due, and while none is (then only complaints may come).
_LOOK_S = 0.001
_IDLE_LOOK_S = 0.25

#: While so many are under way, what comes waits for the next look: what is sent together costs less. Measured with 32
#: callers: 6 % less of the processor for an event, as many events a second, and the same p99. For reports everyone
#: looks who comes: with 16 and 32 callers up to a fifth more events a second, at the same cost.
_BUSY = 8

#: How long `check` waits for an answer of the brokers, and then for the producer's id.
_CHECK_S = 2.0

#: Between two looks for the producer's id.
_WARMING_S = 0.02

#: While a record is not acknowledged for so many statistics, it is told, with the reason: half a minute. Others may be,
#: all the while: they go to other brokers.
_SILENCES = 60

#: A client that got no producer's id, as librdkafka says it, has sent nothing.
_NOTHING_SENT = "Failed to acquire idempotence PID"

#: A client says of a record that it is kept, and not where, when a later one is: the brokers would not have taken that
#: otherwise. But they do, where a partition was just made and is still empty (Apache Kafka's issue 15591).
_NO_PLACE = KafkaError(KafkaError._NO_OFFSET, "a record is said to be kept, but not where: it may have been left out")

#: librdkafka's partitioner says where (RD_KAFKA_PARTITION_UA).
_ANY = -1

_CLOSED = "this producer was closed"
_TOO_MUCH = "too much waits for Kafka already (queue.buffering.max.kbytes)"


class KafkaProducer(Producer):
    """A client of librdkafka, polled on the loop: no thread of ours, and no hop for a record.

    Where a client can't go on another one sends all that is due again, in its order, before anything later: it is kept
    at least once, and no call ends before. What the former client had on its way may arrive as a second copy, also
    behind later records.
    """

    def __init__(
        self,
        clients: Clients,
        topics: Topics,
        placement: Placement | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._topics, self._sleep = topics, sleep
        #: What is known of streams holds whatever the brokers say later.
        self._placement = placement or Placement()
        self._numbers = count()
        #: What was sent and not reported yet, in the order of the calls.
        self._due: dict[int, tuple[str, Record, Delivery]] = {}
        #: Of these, what the client was not given yet.
        self._held: deque[int] = deque()
        self._outcomes = Outcomes()
        self._idle = asyncio.Event()
        self._idle.set()
        self._next_look: asyncio.TimerHandle | None = None
        #: For a stream that was away.
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = self._has_ended = False
        #: The record that waits for longest, when the statistics came last, and how often it was the same.
        self._oldest: int | None = None
        self._silences = 0
        self._succession = Succession(
            clients, self._due, hear=self._poll, go_on=self._go_on, on_statistics=self._watch_oldest
        )
        self._client = self._succession.client
        with suppress(RuntimeError):
            # Statistics and complaints pile up while nobody looks. Outside of a loop, the first call begins.
            self._look_in(_IDLE_LOOK_S)

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        """As in the contract. Whatever comes to its end meanwhile is told in the loop's next turn."""
        if self._is_closed:
            raise QueueUnavailable(_CLOSED)
        number = next(self._numbers)
        self._due[number] = stream, record, delivery
        if len(self._due) == 1:
            self._idle.clear()
            self._look_in(_LOOK_S)
        if self._succession.cannot_be_made:
            # Nobody knows for how long, and nothing bounds what waits without a client.
            self._outcomes.failing[stream] = QueueUnavailable(self._succession.cannot_be_made)
        if stream in self._outcomes.failing:
            return self._fail(number, self._outcomes.failing[stream])
        self._held.append(number)
        if len(self._held) == 1 and len(self._due) <= _BUSY:
            self._produce_held()
        else:
            self._poll()

    def _produce_held(self) -> None:
        # First what failed since the last look: nothing that was submitted before that is told may be kept.
        self._poll()
        while self._held and self._client.takes_records and not self._placement.is_asking:
            self._produce(self._held.popleft())

    def _produce(self, number: int) -> None:
        """Give it to the client, or tell that it is not taken."""
        stream, record, _ = self._due[number]
        if stream in self._placement.refused:
            return self._fail_with_followers(number, QueueUnavailable(self._placement.refused[stream]))
        if stream in self._placement.missed:
            self._look_for(stream)
            return self._fail_with_followers(number, self._placement.missed[stream])
        try:
            place, size = (stream, self._place(stream, record.key)), len(record.value)
            if self._client.openings.must_wait(place, number, size):
                return
            self._client.own.produce(
                stream,
                self.value_of(record),
                record.key.encode(),
                on_delivery=partial(self._report, number),
                partition=place[1],
                timestamp=record.timestamp_ms,
                headers=list(record.headers),
            )
            self._client.openings.sent(place, number, size)
        except BufferError:
            # A smaller one might find room, and stand before it.
            self._fail_with_followers(number, QueueUnavailable(_TOO_MUCH))
        except KafkaException as error:
            if is_fatal(cause(error)):
                self._client.is_spent = True
            self._judge(number, cause(error), is_sent=False)
        except (TypeError, ValueError) as error:
            self._fail(number, RecordRefused(f"{stream} does not take this record. Kafka's client: {error!r}"))
        except Exception as error:  # whatever it is, the client has not got the record
            self._fail_with_followers(number, QueueUnavailable(f"{stream} did not take a record. {error!r}"))

    def _place(self, stream: str, key: str) -> int:
        """The partition; by librdkafka's partitioner, which does the same, where the number of all is not known.

        Partitions that an administrator adds would move portals in the midst of their events, and part them from what
        is parked.
        """
        count = self._placement.counts.get(stream)
        return _ANY if count is None else partition_of(key, count)

    def value_of(self, record: Record) -> bytes | None:
        """What the topic gets as the record's value."""
        return record.value

    def _look_for(self, stream: str) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._looked_for(stream))

    async def _looked_for(self, stream: str) -> None:
        # A client that was told of fewer partitions believes that for minutes, unless it asks.
        # Python says so of a thread that can't be started, and Kafka's client of one that is closed.
        with suppress(KafkaException, RuntimeError):
            if not self._has_ended:
                await asyncio.to_thread(self._client.own.list_topics, stream, _CHECK_S)
        await self._topics.look_for(stream)

    def _report(self, number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            return self._judge(number, error, partition=message.partition())
        # The statistics say it later; a client that has sent something is ready, whatever it meets next.
        self._client.statistics.state, self._succession.was_warm = WARM, True
        # What raises here, as anything may under a client that can't go on, leaves the record due.
        offset = message.offset()
        if offset is None:
            return self._client.leave_out(_NO_PLACE)
        self._held.extendleft(self._client.openings.ended(number, is_kept=True))
        self._outcomes.add(self._due.pop(number)[2], Position(message.partition() or 0, offset))

    def _judge(self, number: int, error: KafkaError, *, is_sent: bool = True, partition: int | None = None) -> None:
        """Tell that the record is not kept, unless it stays due."""
        if number not in self._due:
            return  # told when its client got no id
        client = self._client
        meaning = of_record(error, self._due[number][0], client.faults)
        if isinstance(meaning, RecordRefused):
            if partition is None or client.sends_singly or not is_of_batch(error):
                self._fail(number, meaning)
            else:
                client.refused[self._due[number][0], partition].append((number, error))
        elif client.is_spent or is_fatal(error):
            client.is_spent = client.may_hold_followers = True
        elif is_sent and not is_of_stream(error):
            if error.code() == KafkaError._INVALID_DIFFERENT_RECORD:
                self._succession.be_wary()
            # Ended before it sends what is behind it, unless the loop hears of it too late.
            client.leave_out(error)
        elif not isinstance(meaning, UnknownStream) and self._is_followed(number):
            # The right may be given back just now: librdkafka sends again what the brokers lack the one before of.
            client.deny(number, meaning, error)
        else:
            if isinstance(meaning, UnknownStream):
                self._miss(self._due[number][0], meaning)
            self._fail_with_followers(number, meaning)

    def _miss(self, stream: str, why: QueueError) -> None:
        self._client.openings.forget(stream)
        if stream in self._placement.counts:
            self._placement.missed.setdefault(stream, why)

    def _is_followed(self, number: int) -> bool:
        """Whether the client has more of its stream, that was submitted behind it."""
        stream, kept_here = self._due[number][0], {*self._held, *self._client.openings.waiting}
        return any(one > number and it[0] == stream and one not in kept_here for one, it in self._due.items())

    def _fail_with_followers(self, number: int, error: QueueError) -> None:
        """The same for what is held behind it, and for what comes before this is told."""
        stream = self._due[number][0]
        self._outcomes.failing[stream] = error
        self._held.extendleft(self._client.openings.leave(stream))
        followers = {one: None for one in self._held if one > number and self._due[one][0] == stream}
        self._held = deque(one for one in self._held if one not in followers)
        for one in (number, *followers):
            self._fail(one, error)

    def _fail(self, number: int, error: QueueError) -> None:
        self._held.extendleft(self._client.openings.ended(number, is_kept=False))
        self._outcomes.add(self._due.pop(number)[2], anew(error))

    def _poll(self) -> None:
        why = self._client.poll()
        while self._client.refused:
            _, batch = self._client.refused.popitem()
            why = self._judge_batch(batch) or why
        if why is not None and not self._succession.is_changing:
            self._succession.give_up(why)
            if _NOTHING_SENT in why.str() and not self._succession.was_warm:
                self._fail_all(f"no record is taken. {sentence(why)}")
        self._client.hold_followers_back()

    def _judge_batch(self, batch: list[tuple[int, KafkaError]]) -> KafkaError | None:
        """Tell who was refused alone. Of several, one may be the reason for all: sent one by one, it shows which."""
        number, error = batch[0]
        if len(batch) == 1:
            self._fail(number, of_record(error, self._due[number][0], self._client.faults))
            return None
        self._succession.be_wary()
        self._client.leave_out(error)
        return error

    def _go_on(self, client: ProducerClient) -> None:
        denied = self._client.denied
        self._client, self._held = client, deque(self._due)
        if denied is not None:
            self._held.remove(denied[0])
            self._fail_with_followers(*denied)
        self._produce_held()

    def _fail_all(self, text: str) -> None:
        while self._due:
            self._fail_with_followers(next(iter(self._due)), QueueUnavailable(text))
        self._held.clear()

    def _look(self) -> None:
        try:
            self._produce_held()
            self._succession.look()
        finally:
            # Whatever one record does to the client, the others are looked after.
            self._look_in(_LOOK_S if self._due else _IDLE_LOOK_S)
        if not self._due:
            # Behind those who are told in the loop's next turn: who closes goes on after them.
            asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        if not self._due:
            self._idle.set()

    def _look_in(self, seconds: float) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
        self._next_look = asyncio.get_running_loop().call_later(seconds, self._look)

    async def check(self) -> None:
        """As in the contract: the brokers answer, every partition has a leader, and the first record won't wait."""
        if self._is_closed:
            raise QueueUnavailable(_CLOSED)
        for stream in list(self._placement.missed):
            await self._looked_for(stream)
        await self._topics.check(_CHECK_S)
        if self._next_look is None and not self._is_closed:
            self._look_in(_IDLE_LOOK_S)
        for _ in range(int(_CHECK_S / _WARMING_S)):
            if self._is_closed:
                raise QueueUnavailable(_CLOSED)
            if self._client.is_ready:
                return
            self._poll()
            await self._sleep(_WARMING_S)
        if not self._client.is_ready:
            why = self._succession.why_not or "look at __transaction_state, or restart"
            raise QueueUnavailable(f"the producer is not ready: its state is {self._client.statistics.state}; {why}")

    def _watch_oldest(self) -> None:
        former, self._oldest = self._oldest, next(iter(self._due), None)
        self._silences = self._silences + 1 if self._oldest is not None and self._oldest == former else 0
        if self._silences == _SILENCES:
            self._silences = 0
            last = self._client.faults.last
            why = sentence(last) if last else "it does not answer"
            log.warning("records wait for Kafka", due=len(self._due), reason=why)

    async def close(self) -> None:
        """As in the contract; cancelled, it gives up what is not acknowledged yet."""
        self._is_closed = True
        try:
            await self._idle.wait()
        finally:
            self._end()

    def _end(self) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._next_look is not None:
            self._next_look.cancel()
        if self._looking is not None:
            self._looking.cancel()
        self._succession.stop()
        self._client.purge()
        self._client.poll()
        self._fail_all("the producer was closed before Kafka had answered")
        # Nobody looks any more: who closes it again has nothing to wait for.
        self._idle.set()
        self._client.end()
        self._outcomes.tell()
