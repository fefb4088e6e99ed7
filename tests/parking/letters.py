"""A world whose events die: its dead letters are slow to be kept, or refused, and operators replay them."""

from dataclasses import dataclass, field

from forebay import PortalEvent, Reject, Retry
from forebay.processors.dead_letters import place_of
from forebay.processors.parking.orders import What, spans_of
from forebay.queues.contract import Record, StoredRecord
from forebay.queues.errors import QueueUnavailable
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.parking.books import number_of
from tests.parking.lines import Turns
from tests.parking.moody import TOPIC
from tests.parking.world import World


@dataclass(kw_only=True)
class MortalWorld(World):
    """A handler rejects what it finds wrong, and asks for another try later."""

    #: Portals of whose events each third is rejected, and those that ask for another try in so many seconds.
    rejecting: set[str] = field(default_factory=set)
    later_s: dict[str, float] = field(default_factory=dict)
    #: Partition and offset of the letters that were replayed.
    replayed: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.queue.kept = self._kept

    def _open_books(self) -> Turns:
        self.turns = Turns(time=self.loop.time)
        return self.turns

    def _kept(self, stream: str, record: Record) -> None:
        if stream == names.dead(TOPIC):
            self.turns.finish(codec().decode(record.value), "dead")

    def _fail(self, events: list[PortalEvent], at: int) -> None:
        portal, done = events[0].portal, at if len(events) > 1 else None
        if portal in self.later_s:
            raise Retry("later", after_s=self.later_s[portal], done=done)
        if portal in self.rejecting and number_of(events[at]) % 3 == 0:
            raise Reject("wrong", done=done)
        super()._fail(events, at)

    def mend(self, portal: str) -> None:
        """Its handler has no trouble any more."""
        self.failing.discard(portal)
        self.rejecting.discard(portal)
        self.later_s.pop(portal, None)

    def send(self, portal: str, count: int) -> None:
        for number in range(self.sent[portal] + 1, self.sent[portal] + count + 1):
            self.turns.send(portal, number)
        super().send(portal, count)

    def replay_letters(self, portal: str) -> None:
        """An operator replays the portal's dead letters, each once."""
        log = self.queue.logs[names.dead(TOPIC)][self.partition(portal)]
        self._replay([one for one in log if one.key == portal and (one.partition, one.offset) not in self.replayed])

    def replay_events(self, portal: str, count: int) -> None:
        """An operator replays the last events of the portal that are finished."""
        log = self.queue.logs[TOPIC][self.partition(portal)]
        of_portal = [one for one in log if one.key == portal]
        self._replay([of_portal[number - 1] for number in self.turns.finished(portal)[-count:]])

    def _replay(self, records: list[StoredRecord]) -> None:
        """In the order of the topic. Spans rise: where letters of older events stand behind, another order follows."""
        rising: list[StoredRecord] = []
        for record in sorted(records, key=lambda one: (place_of(one)[2], one.offset)):
            if rising and record.offset <= rising[-1].offset:
                self._order(rising)
                rising = []
            rising.append(record)
        if rising:
            self._order(rising)

    def _order(self, rising: list[StoredRecord]) -> None:
        portal, stream = rising[0].key, rising[0].stream
        for record in rising:
            self.turns.replay(portal, number_of(codec().decode(record.value)))
            if stream == names.dead(TOPIC):
                self.replayed.add((record.partition, record.offset))
        self.order(What.REPLAY, portal, stream, tuple(spans_of(one.offset for one in rising)))

    def feel_letters(self, mood: str) -> None:
        """The dead letters change their mood; what is under way is kept or refused, unless they wait."""
        self.queue.letters.now = mood
        if mood != "waits":
            self.run(self._answer_letters())

    async def _answer_letters(self) -> None:
        waiting, self.queue.letters.waiting = self.queue.letters.waiting, []
        for producer, letter, delivery in waiting:
            if self.queue.letters.now == "refuses":
                delivery.set_exception(QueueUnavailable("no broker"))
            else:
                delivery.set_result(producer.keep(letter, names.dead(TOPIC)))

    def _given_back(self, partition: int, after_s: float) -> None:
        super()._given_back(partition, after_s)
        # Whoever waited for its letters waits no more: these are never kept.
        letters = self.queue.letters
        letters.waiting = [one for one in letters.waiting if self.partition(one[1].key) != partition]

    def heal(self) -> None:
        self.feel_letters("takes")
        self.rejecting.clear()
        self.later_s.clear()
        super().heal()

    def _parked(self) -> set[str]:
        parkings = (one.parking for worker in self.workers for one in worker.ownership)
        return {portal for one in parkings if one is not None for portal in one.portals}

    def _help(self) -> None:
        for portal in self._parked():
            self.order(What.RESUME, portal)
        for portal in self.sent:
            self.replay_letters(portal)

    def _is_well(self) -> bool:
        return super()._is_well() and not self._parked()
