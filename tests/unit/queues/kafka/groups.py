"""A stream and a group that reads it, made up: the brokers' side of `restless`."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError
from forebay.queues.kafka.faults import Faults

from .fetching import PARTITIONS
from .restless import At, Client

#: What a commit ends with: an error, of which partition (None: of all), and whether it is kept all the same.
Mood = tuple[int, int | None, bool]

#: Fatal for a client, but not always for its member.
_TRY_AGAIN = (
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError.UNRELEASED_INSTANCE_ID,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.GROUP_MAX_SIZE_REACHED,
    KafkaError.GROUP_ID_NOT_FOUND,
)

#: What tells a member that it has no place in the group any more.
FENCED = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH, KafkaError.FENCED_INSTANCE_ID)


class Topic:
    """Its log: where it starts, and where it ends."""

    def __init__(self) -> None:
        #: Also what retention has taken.
        self.log: dict[int, list[int]] = {number: [] for number in PARTITIONS}
        self.starts, self.ends = dict.fromkeys(PARTITIONS, 0), dict.fromkeys(PARTITIONS, 0)
        #: Where each of its leaders begins to write.
        self.terms = {number: [0] for number in PARTITIONS}

    def behind(self, number: int, place: int) -> int | None:
        """The first record from the place on."""
        return next((offset for offset in self.log[number] if offset >= place), None)

    def leader(self, number: int, offset: int) -> int:
        """Who has written what stands there."""
        return sum(start <= offset for start in self.terms[number]) - 1

    def has_gap(self, number: int, start: int, end: int) -> bool:
        """Whether no record stands there."""
        return end <= self.ends[number] and not any(start <= offset < end for offset in self.log[number])


class Group:
    """Its places and its members, and the stream's log."""

    asked_protocol, max_poll_s = None, 1.0

    def __init__(self, meanwhile: Callable[[float], None]) -> None:
        #: What happens while a client is asked something, for so long.
        self.meanwhile = meanwhile
        self.topics = [Topic()]
        self.places: dict[int, int] = {}
        #: Whose the last record before a place is, as a commit has said.
        self.leaders: dict[int, int | None] = {}
        #: Whom the group says a partition belongs to.
        self.owners: dict[int, Client] = {}
        self.clients: list[Client] = []
        #: Partition and offset of each commit that was kept.
        self.kept: list[tuple[int, int]] = []
        #: How many answers said that a member has no place in the group any more.
        self.fenced = 0
        #: Some member was thrown out, or left alone: what it gave back last may have come too late.
        self.has_parted = False
        #: Of the next commits.
        self.moods: deque[Mood] = deque()
        self.hindrances = self.silences = 0
        #: Partitions whose leaders answer nobody.
        self.far: set[int] = set()
        #: What may be committed: partitions and offsets.
        self.asked: set[tuple[int, int]] = set()
        #: Somebody read on at a place that is not there.
        self.has_nowhere = False
        #: Somebody was told that it is over: no other client may follow.
        self.is_over = False

    @property
    def client(self) -> Client:
        return self.clients[-1]

    @property
    def may_be_over(self) -> bool:
        """Whether an error of a client was final, so that the consumer may end by it."""
        return self.has_nowhere or any(client.is_dead for client in self.clients)

    @property
    def log(self) -> dict[int, list[int]]:
        return self.topics[-1].log

    @property
    def starts(self) -> dict[int, int]:
        return self.topics[-1].starts

    @property
    def ends(self) -> dict[int, int]:
        return self.topics[-1].ends

    def member(self, *_: object, protocol: str, faults: Faults, on_commit: Any, on_statistics: Any, **__: Any) -> Any:
        assert not self.is_over
        if self.hindrances:
            self.hindrances -= 1
            raise QueueError("the setting kafka can't be used: ssl.ca.location: it can't be read")
        self.clients.append(Client(self, protocol, faults, on_commit, on_statistics))
        return self.client

    def write(self, number: int, records: int, gap: int) -> None:
        """Records, and behind them what is none."""
        self.log[number] += range(self.ends[number], self.ends[number] + records)
        self.ends[number] += records + gap

    def first(self, number: int) -> int:
        """Where the group begins."""
        return self.places.get(number, self.starts[number])

    def take_what_is_old(self, number: int) -> None:
        """Let retention take all but the last record."""
        self.starts[number] = max(self.starts[number], self.ends[number] - 1)

    def elect(self, number: int) -> None:
        """Let the partition have another leader."""
        self.topics[-1].terms[number].append(self.ends[number])

    def make_anew(self) -> None:
        """Let somebody delete the topic, and with it the group's places, and make it anew."""
        self.topics.append(Topic())
        self.places.clear()
        self.leaders.clear()

    def work_elsewhere(self, number: int) -> None:
        """Let another member have it for a moment."""
        if number not in self.owners:
            self.places[number], self.leaders[number] = self.ends[number], None

    def tell_of_the_end(self, code: int) -> None:
        """What is no reason to try again in another way."""
        self.is_over = self.is_over or code not in _TRY_AGAIN

    def relent(self) -> None:
        self.moods.clear()
        self.far.clear()
        self.hindrances = self.silences = 0

    def commit(self, client: Client, offsets: Iterable[Any], *, is_member: bool) -> tuple[KafkaError | None, list[At]]:
        """What becomes of a commit that arrives."""
        code, of, is_kept = self.moods.popleft() if self.moods else (KafkaError.NO_ERROR, None, True)
        if not is_member:
            code, of, is_kept = KafkaError.UNKNOWN_MEMBER_ID, None, False
        self.fenced += code in FENCED
        error = KafkaError(code) if code else None
        answered = [
            At(
                at.topic,
                at.partition,
                at.offset,
                error if of in (None, at.partition) else None,
                leader_epoch=at.leader_epoch,
            )
            for at in offsets
        ]
        for at in answered:
            if at.error is None or is_kept:
                self._keep(client, at)
        return error if answered and all(at.error for at in answered) else None, answered

    def _keep(self, client: Client, at: At) -> None:
        assert self.owners.get(at.partition) is client
        assert at.offset >= self.places.get(at.partition, 0)
        self.places[at.partition], self.leaders[at.partition] = at.offset, at.leader_epoch
        self.kept.append((at.partition, at.offset))


class WallClock:
    """Was never set back, unless somebody says so."""

    back_s = 0.0

    def set_back_s(self) -> float:
        back_s, WallClock.back_s = WallClock.back_s, 0.0
        return back_s
