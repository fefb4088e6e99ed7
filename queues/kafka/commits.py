"""Commits, in the member's thread: asynchronous as a rule, at once while a rebalance waits for us."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.queues.errors import Fenced, QueueError, QueueUnavailable

from .assignments import Assignment
from .faults import cause, sentence
from .notes import Notes

#: The group goes on without this member, or without this assignment of it.
_FENCED = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._FENCED,
    }
)


#: The group is being put together anew. Whether the partition stays ours shows in a moment, and by its epoch.
_REGROUPING = frozenset(
    {KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.STALE_MEMBER_EPOCH}
)


class Regrouping(QueueUnavailable):
    """The commit met a rebalance and was not stored; it may be asked for again at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What shall be committed, each partition under the epoch in which that was asked, and who wants to know."""

    commits: Mapping[int, Commit]
    epochs: Mapping[int, int]
    #: Of which of them it was known when that was asked that a later leader writes.
    rewritten: Collection[int] = ()
    answer: Callable[[QueueError | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    request: Request
    offsets: list[TopicPartition]


class Commits:
    """At most one commit is under way, as the brokers' reports don't say which one they are about."""

    def __init__(self, stream: str, notes: Notes) -> None:
        self._stream, self._notes = stream, notes
        self._sent: _Sent | None = None
        # Reports that will still come for commits that were answered otherwise meanwhile.
        self._stale = 0

    def begin(self, client: Consumer, request: Request, ours: Mapping[int, Assignment], *, at_once: bool) -> None:
        """Commit what is still ours; `at_once` waits for the brokers' answer here."""
        # There is one only if its caller was cancelled: otherwise they wait for each other.
        self.finish(client, ours)
        sent = _Sent(request=request, offsets=self._offsets(request, ours))
        if at_once or not sent.offsets:
            _settle(client, sent)
        else:
            self._sent = sent
            client.commit(offsets=sent.offsets, asynchronous=True)

    def finish(self, client: Consumer, ours: Mapping[int, Assignment]) -> None:
        """Answer the commit under way now: in a rebalance its report can't come, as nobody polls."""
        if self._sent is not None:
            request, self._sent = self._sent.request, None
            self._stale += 1
            # The same again, behind the first one: what the brokers have of it doesn't matter then. But not what was
            # lost since: the brokers ask who commits, and not whose the partition is.
            _settle(client, _Sent(request=request, offsets=self._offsets(request, ours)))

    def report(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        """For the client's `on_commit`."""
        if self._stale:
            self._stale -= 1
        elif self._sent is not None:
            sent, self._sent = self._sent, None
            sent.request.answer(_outcome(sent, error, partitions))

    def abandon(self) -> None:
        """The client is gone: nothing is known of the commit under way."""
        if self._sent is not None:
            sent, self._sent = self._sent, None
            sent.request.answer(QueueUnavailable("the consumer was closed before its commit was answered"))

    def _offsets(self, request: Request, ours: Mapping[int, Assignment]) -> list[TopicPartition]:
        offsets = []
        for number, commit in request.commits.items():
            mine = ours.get(number)
            if mine is not None and mine.epoch == request.epochs.get(number):
                leader = mine.leaders.latest(has_heard=number in request.rewritten)
                offsets.append(
                    TopicPartition(self._stream, number, commit.offset, self._notes.encode(commit.note), leader)
                )
        return offsets


def _settle(client: Consumer, sent: _Sent) -> None:
    try:
        answered = client.commit(offsets=sent.offsets, asynchronous=False) if sent.offsets else []
    except KafkaException as error:
        sent.request.answer(_outcome(sent, cause(error), []))
    else:
        sent.request.answer(_outcome(sent, None, answered))


def _outcome(sent: _Sent, error: KafkaError | None, answered: Sequence[TopicPartition]) -> QueueError | None:
    asked = {at.partition for at in sent.offsets}
    errors = {at.partition: at.error for at in answered if at.error is not None}
    if error is not None and not errors:
        errors = dict.fromkeys(asked, error)
    for one in errors.values():
        if one.code() in _REGROUPING:
            return Regrouping(f"the group's offsets were not stored during a rebalance. {sentence(one)}")
        if one.code() not in _FENCED:
            return QueueUnavailable(f"the group's offsets were not stored. {sentence(one)}")
    fenced = sent.request.commits.keys() - asked | errors.keys()
    return Fenced(fenced) if fenced else None
