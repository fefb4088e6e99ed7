"""Partitions that come and go: what librdkafka calls in the member's thread, brought to the event loop and back."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from forebay.queues.contract import Commit
from forebay.schemas.logger import get_logger

from .assignments import Assignment
from .commands import Commands
from .commits import Commits, Request
from .faults import cause, reason
from .leader_epochs import LeaderEpochs
from .notes import Notes
from .ownership import Holding, Ownership
from .pauses import Pauses
from .starts import FIRST, Start, starts
from .waking import Waking

log = get_logger(__name__)

#: Between two attempts to learn where to begin, and how long they fail in silence: where the topic is new, its leaders
#: are there soon.
_RETRY_S = 0.1
_QUIET_S = 2.0

#: A client to which nobody says for so long where to begin may be one that can't go on.
_STRANDED_S = 30.0


class Rebalances:
    """Knows which partitions are ours and under which epoch, one for each assignment. Used in one thread.

    Of one client: another that is left to close by itself may still call back, and has nothing to say any more.
    """

    def __init__(
        self,
        *,
        commands: Commands,
        commits: Commits,
        pauses: Pauses,
        waking: Waking,
        ownership: Ownership,
        notes: Notes,
        loop: asyncio.AbstractEventLoop,
        max_wait_s: float,
        numbers: Iterator[int],
    ) -> None:
        self._commands, self._commits, self._ownership = commands, commits, ownership
        self._pauses, self._waking, self._loop, self._max_wait_s = pauses, waking, loop, max_wait_s
        self._notes = notes
        self.ours: dict[int, Assignment] = {}
        #: Whether the group waits for us.
        self.is_waiting = False
        #: Whether the client says goodbye, or has: what it complains of is nothing to the member any more.
        self.has_left = False
        #: Why the client seems to be one that can't go on: in here nobody hears its statistics (see `Statistics`).
        self.stranding: KafkaError | None = None
        #: Why it is not known where to begin, and nothing is read meanwhile; empty while all is well.
        self.hindrance = ""
        # Everything is on its way back, since we leave.
        self._leaving: Future[None] | None = None
        #: Of epochs: none is used twice, by whatever client.
        self._numbers = numbers

    def begun(self, stream: str) -> list[TopicPartition]:
        """Those of ours with which the client has surely begun."""
        return [TopicPartition(stream, number) for number, mine in self.ours.items() if mine.is_begun]

    def commit(self, client: Consumer, request: Request) -> None:
        """Commit what is ours; while the group waits for us, at once, since nobody polls for the report."""
        self._commits.begin(client, request, self.ours, at_once=self.is_waiting)

    def on_assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """For `subscribe`: begin where the group is."""
        self._waking.note()
        if not partitions:
            return
        found = self._starts_of(client, partitions)
        stream = partitions[0].topic
        client.incremental_assign([start.place(stream, number) for number, start in found.items()])
        self._loop.call_soon_threadsafe(self._ownership.take_over, self._held(found))

    def _held(self, found: Mapping[int, Start]) -> dict[int, Holding]:
        holdings = {}
        for number, start in found.items():
            epoch = next(self._numbers)
            leaders = LeaderEpochs(start, partial(self._tell_of_rewriting, number, epoch))
            self.ours[number] = Assignment(epoch=epoch, place=start.commit.offset, leaders=leaders)
            if start.commit.offset != FIRST:
                holdings[number] = Holding(epoch=epoch, committed=start.commit)
        if unknown := found.keys() - holdings:
            log.warning(
                "nobody says where partitions begin; they are begun once their leaders answer",
                partitions=sorted(unknown),
            )
        return holdings

    def begin(self, number: int, mine: Assignment, offset: int, *, has_records: bool) -> None:
        """The first that comes of it is there: so the user can be told of a partition whose beginning was not known."""
        if mine.place == FIRST:
            mine.place = offset
            holding = Holding(epoch=mine.epoch, committed=Commit(offset=offset, is_reset=has_records))
            self._loop.call_soon_threadsafe(self._ownership.take_over, {number: holding})

    def _tell_of_rewriting(self, partition: int, epoch: int, offset: int) -> None:
        self._loop.call_soon_threadsafe(self._ownership.rewritten, partition, epoch, offset)

    def _starts_of(self, client: Consumer, partitions: list[TopicPartition]) -> dict[int, Start]:
        """Where the partitions begin; nothing when we are leaving, or another client should ask."""
        self.is_waiting = True
        began = time.monotonic()
        try:
            while not (self._commands.is_over or self.has_left or self.stranding is not None):
                try:
                    found = starts(client, partitions, self._notes)
                except KafkaException as error:
                    self._note_failure(error, time.monotonic() - began)
                    self._commands.obey(_RETRY_S)
                else:
                    self.hindrance = ""
                    return found
            return {}
        finally:
            self.is_waiting = False

    def _note_failure(self, error: KafkaException, after_s: float) -> None:
        if after_s > _QUIET_S:
            self.hindrance = f"the group's offsets can't be read. {reason(error)}"
        if after_s > _STRANDED_S:
            self.stranding = cause(error)

    def on_revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """For `subscribe`: they stay ours until the user has finished with them."""
        if self._loop.is_closed():
            return
        # What comes while we leave is never begun with, and whoever is to have it next need not wait for us.
        if mine := self._among_ours(partitions):
            self.is_waiting = True
            try:
                self._commits.finish(client, self.ours)
                self._wait_for(self._leaving or self._asked_back(mine), self._commands.obey)
            finally:
                self.is_waiting = False
        # What was not given back in time is lost; the others are no longer owned by then.
        self.on_lost(client, partitions)

    def give_all_back(self, go_on: Callable[[float], None]) -> None:
        """Before the client is closed: wait until the user has finished with everything.

        Meanwhile `go_on` is called again and again with the time that is left, to carry out commands and to poll: a
        classic client that closes while the group is put together anew hears no more of it. It could commit nothing
        that it gives back then, and the others would wait for it.
        """
        self._leaving = self._asked_back(self.ours)
        self._wait_for(self._leaving, go_on)

    def _asked_back(self, numbers: Iterable[int]) -> "Future[None]":
        returned = asyncio.run_coroutine_threadsafe(self._ownership.give_back(list(numbers)), self._loop)
        # Once, however often it is waited for.
        returned.add_done_callback(_tell_of_failure)
        return returned

    def _wait_for(self, returned: "Future[None]", go_on: Callable[[float], None]) -> None:
        """Go on until it is done; longer than that the group would not wait."""
        returned.add_done_callback(lambda _: self._commands.nudge())
        until = time.monotonic() + self._max_wait_s
        while not returned.done() and (left := until - time.monotonic()) > 0:
            go_on(left)
        if not returned.done():
            log.error("partitions were not given back in time", waited_s=self._max_wait_s)
            returned.cancel()

    def on_lost(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        """For `subscribe`: they may be another's already."""
        self._waking.note()
        numbers = self._among_ours(partitions)
        for number in numbers:
            del self.ours[number]
        self._loop.call_soon_threadsafe(self._ownership.lose, numbers)
        self._pauses.lift(client, partitions)
        # To let go of any that was not begun with would be an error, which ends the polling.
        begun = set(client.assignment())
        client.incremental_unassign([at for at in partitions if at in begun])

    def _among_ours(self, partitions: Iterable[TopicPartition]) -> list[int]:
        return [at.partition for at in partitions if at.partition in self.ours]

    def lose_all(self) -> None:
        """Whatever we still have may be another's: a client that is fenced, or hangs, calls none of the above."""
        numbers = list(self.ours)
        self.ours.clear()
        if numbers:
            self._loop.call_soon_threadsafe(self._ownership.lose, numbers)


def _tell_of_failure(returned: "Future[None]") -> None:
    if not returned.cancelled() and (error := returned.exception()) is not None:
        log.error("partitions could not be given back", error=str(error))
