"""One client of a producer: what it says of itself, and whether it can go on."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from confluent_kafka import KafkaError, KafkaException, Producer

from forebay.queues.errors import QueueError

from .clients import Clients
from .closing import let_go
from .faults import Faults, cause
from .openings import Openings
from .statistics import WARM, Statistics


class ProducerClient:
    """From its making to its end. Used on one event loop."""

    def __init__(self, clients: Clients, on_statistics: Callable[[], None], *, sends_singly: bool) -> None:
        #: Each record by itself: what is refused is so for its own sake.
        self.sends_singly = sends_singly
        self.openings = Openings(clients.room)
        #: What was refused and is not judged yet, by stream and partition: it may have been one batch.
        self.refused: dict[tuple[str, int], list[tuple[int, KafkaError]]] = defaultdict(list)
        self.faults, self.statistics, self._on_statistics = Faults(), Statistics(), on_statistics
        #: It can't go on, and is given nothing any more: another one follows.
        self.is_spent = False
        #: Since it is spent another record came to nothing: what is behind that must not be sent before it.
        self.may_hold_followers = False
        #: Why a record was not taken that is sent again by the client that follows.
        self.not_taken: KafkaError | None = None
        #: The record that was denied while others were on their way behind it, and what that means.
        self.denied: tuple[int, QueueError] | None = None
        #: librdkafka's.
        self.own: Producer = clients.producer(self.faults, self._read_statistics, singly=sends_singly)
        self._takes_from = monotonic() + clients.connecting_s

    @property
    def takes_records(self) -> bool:
        """Whether a record may be given to it."""
        return not self.is_spent and monotonic() >= self._takes_from

    @property
    def is_ready(self) -> bool:
        """Whether a record is sent at once. One that can't go on was ready once, and takes nothing any more."""
        return self.statistics.state == WARM and not self.is_spent

    def poll(self) -> KafkaError | None:
        """Let it call back for whatever it has to tell. Gives why it can't go on, if that is so."""
        try:
            self.own.poll(0)
        except (KafkaException, SystemError) as error:
            # A fatal error is told like this. What Python calls while it is, fails with a SystemError.
            self.is_spent = True
            return cause(error)
        return self.not_taken or self.statistics.stranding or self.faults.stranding

    def leave_out(self, why: KafkaError) -> None:
        """A record was not taken, and is sent again by the client that follows."""
        self.is_spent, self.not_taken = True, why

    def deny(self, number: int, meaning: QueueError, why: KafkaError) -> None:
        """The same, but it is told as not kept instead, when what is behind it has come to nothing, too."""
        self.denied = number, meaning
        self.leave_out(why)

    def hold_followers_back(self) -> None:
        """Let nothing be sent that waits in it, where that may be behind a record that came to nothing."""
        # Behind one that was not taken, what was on its way comes back and waits, to be tried again a moment later.
        if self.may_hold_followers or self.not_taken is not None:
            self.purge(in_flight=False)
            self.may_hold_followers = False

    def purge(self, **how: bool) -> None:
        """Let it answer for what it has, as not kept: all, or what it has not sent yet."""
        # Never with `blocking`, which the wheel takes the wrong way round: what waits for the client's threads, as for
        # one that resolves a name, holds up the whole process. A client that can't go on may fail at this, too.
        with suppress(KafkaException, SystemError):
            self.own.purge(**how)

    def end(self) -> None:
        """Let go of librdkafka's client, its threads and its connections. Nothing can be asked of it any more."""
        own = [self.own]
        # It calls us back, and would wait for the collection of garbage.
        del self.own
        let_go(own)

    def _read_statistics(self, statistics: str) -> None:
        self.statistics.read(statistics)
        self._on_statistics()
