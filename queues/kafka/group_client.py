"""One client in a group, in the thread of its member: what it reads goes into the inbox, and what is finished is
committed."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from confluent_kafka import KafkaError, Message, TopicPartition

from forebay.schemas.logger import get_logger

from .clients import Clients
from .closing import closes
from .commands import Commands
from .commits import Commits, Request
from .faults import Faults
from .inbox import Inbox
from .notes import Notes
from .ownership import Ownership
from .pauses import Pauses
from .rebalances import Rebalances
from .sorting import Read, Sorting
from .statistics import Statistics
from .waking import Waking
from .wall_clock import SET_BACK_S, WallClock

log = get_logger(__name__)

#: A wait for records. A command to the thread waits as long at most, when nothing comes.
_POLL_S = 0.05

#: The same while everything is given back: the user commits partition by partition, and each commit waits for it twice.
_LEAVING_POLL_S = 0.002

#: Records that are handed to the loop at once.
_BATCH = 500

#: So long the thread waits for room before it pauses: pausing throws away what was read ahead.
_PATIENCE_S = 1.0

#: So often it polls meanwhile.
_LOOK_S = 0.02


class GroupClient:
    """From its joining to its leaving. Only the member's thread uses it: confluent-kafka lets one in at a time, and has
    a second one look every millisecond whether nobody is in, which beside one that polls again and again is never.

    Errors among the records go to `on_error`, with the partition where there is one; complaints that belong to no call
    to `on_complaint`, with the rebalances of the client whose they are. Nothing that librdkafka calls refers to this
    object: when the member lets go of it, the client is freed, and waits for no garbage collection.
    """

    def __init__(
        self,
        *,
        clients: Clients,
        stream: str,
        group: str,
        session_s: float,
        protocol: str,
        ownership: Ownership,
        inbox: Inbox,
        commands: Commands,
        notes: Notes,
        loop: asyncio.AbstractEventLoop,
        epochs: Iterator[int],
        on_error: Callable[[KafkaError, int | None], None],
        on_complaint: Callable[[Rebalances, KafkaError], None],
        clock: Callable[[], float],
    ) -> None:
        self._stream, self._group, self._protocol, self._loop = stream, group, protocol, loop
        self._inbox, self._commands, self._clock = inbox, commands, clock
        self._wall_clock, self._is_set_back, self._has_ended = WallClock(), False, False
        self._statistics, self._commits, self._pauses = Statistics(), Commits(stream, notes), Pauses()
        self._waking = Waking(clock)
        self.rebalances = on = Rebalances(
            commands=commands,
            commits=self._commits,
            pauses=self._pauses,
            waking=self._waking,
            ownership=ownership,
            notes=notes,
            loop=loop,
            max_wait_s=clients.max_poll_s,
            numbers=epochs,
        )
        self._sorting = Sorting(stream, on, lambda *gap: loop.call_soon_threadsafe(ownership.gap, *gap), on_error)
        self.faults = Faults(partial(on_complaint, on))
        self._client = clients.member(
            group,
            session_s=session_s,
            protocol=protocol,
            faults=self.faults,
            on_statistics=self._statistics.read,
            on_commit=self._commits.report,
        )
        self._client.subscribe([stream], on_assign=on.on_assign, on_revoke=on.on_revoke, on_lost=on.on_lost)

    @property
    def stranding(self) -> KafkaError | None:
        """Why it can't go on and another one should, if that is so."""
        if self._has_ended:
            return None
        self._is_set_back = self._is_set_back or self._wall_clock.set_back_s() > SET_BACK_S
        if self._is_set_back:
            return KafkaError(KafkaError._FAIL, "the clock was set back, and the client may wait as much longer")
        return self._statistics.stranding or self.rebalances.stranding or self.faults.stranding

    @property
    def is_in_group(self) -> bool:
        """Whether it has partitions, or the group has let it in as far as can be told.

        By KIP-848 who has none looks like one whose beats nobody answers: with a coordinator, it is taken for a member.
        """
        told = self._statistics
        return bool(self.rebalances.ours) or (told.has_joined if self._protocol == "classic" else told.has_coordinator)

    def read(self) -> None:
        """Read on; while there is no room in the inbox, wait for it."""
        if self._inbox.is_full:
            return self._hold()
        self._waking.look(self._client)
        # Not `consume` alone: it waits until the whole batch has come.
        first = self._client.poll(_POLL_S)
        if first is not None:
            batches: Read = defaultdict(list)
            # By itself: while the next are taken its partition may go, and come again from another place on.
            self._sorting.sort([first], batches)
            self._sorting.sort(self._client.consume(_BATCH - 1, 0), batches)
            # The brokers' answer may still have been unpacked meanwhile: its other partitions go with the first.
            self._sorting.sort(self._client.consume(_BATCH, 0), batches)
            self._hand_over(batches)

    def _hold(self) -> None:
        until = self._clock() + _PATIENCE_S
        while self._must_wait and (left := until - self._clock()) > 0:
            self._commands.obey(min(left, _LOOK_S))
            # The group's word and the reports of commits come only to who polls, at the price of a record.
            if (message := self._client.poll(0)) is not None:
                self._take(message)
        if self._must_wait:
            self._pause()

    @property
    def _must_wait(self) -> bool:
        return self._inbox.is_full and not self._commands.is_over and self.stranding is None

    def _pause(self) -> None:
        """Read nothing, but keep polling: rebalances go on."""
        # Not its whole assignment: what became ours in the last poll is not yet begun (see `Pauses`).
        self._pauses.pause(self._client, self.rebalances.begun(self._stream))
        while self._must_wait:
            self._commands.obey()
            message = self._client.poll(_POLL_S)
            if message is not None:
                self._keep(message)
        self._pauses.end(self._client)
        self._waking.note()

    def _keep(self, message: Message) -> None:
        """Take what came in spite of the pause: it was read before, or is of a partition that became ours since."""
        self._pauses.pause(self._client, [TopicPartition(self._stream, number) for number, _ in self._take(message)])

    def _take(self, message: Message) -> Read:
        read: Read = defaultdict(list)
        self._sorting.sort([message], read)
        self._hand_over(read)
        return read

    def _hand_over(self, read: Read) -> None:
        # A partition can go while the next are read, and what waited of it is forgotten then: this must not come after.
        batches = {}
        for (number, epoch), batch in read.items():
            mine = self.rebalances.ours.get(number)
            if mine is not None and mine.epoch == epoch:
                batches[number], mine.place, mine.is_begun = batch, batch[-1].offset + 1, True
        if batches:
            self.faults.clear()
            self._inbox.announce(batches)
            self._loop.call_soon_threadsafe(self._inbox.put, batches)

    def commit(self, request: Request) -> None:
        """Commit what is ours."""
        self.rebalances.commit(self._client, request)

    def give_all_back(self) -> None:
        """Wait until the user has finished with everything, as long as the group would wait for us."""
        if self.rebalances.ours:
            self.rebalances.give_all_back(self._go_on)
        self._commands.obey()
        # Of a commit that is still on its way nobody waits for the answer: with brokers that hang it takes a minute.
        self._commits.abandon()

    def _go_on(self, left_s: float) -> None:
        """Poll for the group's sake. Records are kept as in a pause: nobody fetches them, but who drops them would take
        their place for a gap at the partition's end, and have it committed."""
        self._commands.obey(min(left_s, _LEAVING_POLL_S))
        if self.stranding is not None:
            # Nothing is answered any more.
            self.lose_all()
        elif (message := self._client.poll(0)) is not None:
            self._keep(message)

    def end(self) -> None:
        """Behind a fatal error: all may be another's already, and none may follow that would fence it in turn."""
        self._has_ended = True
        self.rebalances.lose_all()

    def lose_all(self) -> None:
        """It can't tell the group anything, so that nothing is given back: all may be another's already."""
        self.rebalances.lose_all()
        self._commits.abandon()

    def leave(self) -> None:
        """Say goodbye to the group, if there is an answer. Idempotent."""
        if self.rebalances.has_left:
            # It may hang in there, and librdkafka lets no second thread close it.
            return
        self.rebalances.has_left = True
        if not closes(self._client.close, lambda: self.rebalances.is_waiting):
            log.warning("the group was left without a goodbye: its client does not close", group=self._group)
