"""A member of a group in a thread of its own, which polls whatever the handlers do."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import count
from threading import Thread

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from forebay.queues.errors import QueueError, QueueUnavailable

from .clients import Clients
from .closing import closes
from .commands import Commands
from .commits import Commits, Request
from .faults import Faults, is_fatal, of_reading, says, sentence
from .inbox import Inbox
from .ownership import Ownership
from .pauses import Pauses
from .rebalances import Rebalances
from .sorting import Read, Sorting
from .statistics import Statistics
from .wall_clock import SET_BACK_S, WallClock

log = structlog.get_logger(__name__)

#: A wait for records. A command to the thread waits as long at most, when nothing comes.
_POLL_S = 0.05

#: The same while everything is given back: the user commits partition by partition, and each commit waits for it twice.
_LEAVING_POLL_S = 0.002

#: Records that are handed to the loop at once.
_BATCH = 500

#: So long the thread waits for room before it pauses: pausing throws away what was read ahead.
_PATIENCE_S = 1.0

#: Complaints of the client that `fetch` passes on: then nothing works. One broker of several is no reason.
_GRAVE = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE})

#: What a client says whose brokers can't do KIP-848.
_TOO_OLD = (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE)

#: Brokers that don't know of `session_s` keep the place of a member for so long.
_BROKERS_SESSION_S = 45.0

#: Between two attempts to make a client that follows another.
_AGAIN_S = 1.0


class Member:
    """Reads ahead into the inbox. Only its thread uses the client, which lets no two threads in."""

    def __init__(
        self,
        *,
        clients: Clients,
        stream: str,
        group: str,
        session_s: float,
        ownership: Ownership,
        inbox: Inbox,
        commands: Commands,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients, self._stream, self._group, self._session_s = clients, stream, group, session_s
        self._inbox, self._commands, self._clock = inbox, commands, clock
        self._ownership = ownership
        self._loop = asyncio.get_running_loop()
        #: Of epochs.
        self._numbers = count(1)
        self._is_too_old = self._is_early = self._has_left = False
        #: Until then a member of our name that died without a goodbye may still have its place.
        self._is_late_at: float | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._protocol = clients.asked_protocol or "consumer"
        self._client = self._joining()

    def start(self) -> None:
        """Begin to poll, and so join the group."""
        Thread(target=self._run, name=f"forebay-{self._group}", daemon=True).start()

    def commit(self, request: Request) -> None:
        """Have it committed; called on the loop."""
        self._commands.put(lambda: self._commit(request))
        if self._ended.done():
            self._commands.obey()

    async def stop(self) -> None:
        """Give everything back and leave. Idempotent."""
        self._commands.end()
        await asyncio.shield(self._ended)

    def _joining(self) -> Consumer:
        """The next client, and what belongs to one."""
        self._wall_clock, self._is_set_back = WallClock(), False
        self._statistics, self._commits, self._pauses = Statistics(), Commits(self._stream), Pauses()
        self._rebalances = on = Rebalances(
            commands=self._commands,
            commits=self._commits,
            pauses=self._pauses,
            ownership=self._ownership,
            inbox=self._inbox,
            loop=self._loop,
            max_wait_s=self._clients.max_poll_s,
            numbers=self._numbers,
        )
        self._sorting = Sorting(self._stream, on, self._tell_of_gap, self._hear_of)
        self._faults = Faults(partial(self._hear, on))
        client = self._clients.member(
            self._group,
            session_s=self._session_s,
            protocol=self._protocol,
            faults=self._faults,
            on_statistics=self._statistics.read,
            on_commit=self._commits.report,
        )
        client.subscribe([self._stream], on_assign=on.on_assign, on_revoke=on.on_revoke, on_lost=on.on_lost)
        return client

    def _run(self) -> None:
        try:
            self._poll_to_the_end()
        except RuntimeError:
            # A loop that was closed over our head has nobody left to hand anything to.
            if not self._loop.is_closed():
                raise

    def _poll_to_the_end(self) -> None:
        try:
            while not self._commands.is_over:
                self._turn()
            self._give_all_back()
        except Exception as error:  # whatever it is: nobody else would know that nothing is read any more
            if self._loop.is_closed():
                raise
            log.error("the consumer's thread ended", group=self._group, error=repr(error))
            self._complain(QueueError(f"the consumer ended: {error!r}"), is_final=True)
        finally:
            try:
                self._leave()
            finally:
                # Also where the goodbye fails, whoever closes us waits for the end.
                self._rebalances.lose_all()
                self._has_left = True
                self._commits.abandon()
                self._loop.call_soon_threadsafe(self._end)

    def _give_all_back(self) -> None:
        if self._rebalances.epochs:
            self._rebalances.give_all_back(self._go_on)
        self._commands.obey()
        # Of a commit that is still on its way nobody waits for the answer: with brokers that hang it takes a minute.
        self._commits.abandon()

    def _go_on(self, left_s: float) -> None:
        """Poll for the group's sake. Records are kept as in a pause: nobody fetches them, but who drops them would take
        their place for a gap at the partition's end, and have it committed."""
        self._commands.obey(min(left_s, _LEAVING_POLL_S))
        if self._stranding is not None:
            # Nothing is answered any more.
            self._let_all_go()
        elif (message := self._client.poll(0)) is not None:
            self._keep(message)

    def _leave(self) -> None:
        if not closes(self._client.close, lambda: self._rebalances.is_waiting):
            log.warning("the group was left without a goodbye: its client does not close", group=self._group)

    def _end(self) -> None:
        self._ended.set_result(None)
        # Whatever came too late for the thread is answered here.
        self._commands.obey()

    def _turn(self) -> None:
        self._commands.obey()
        if self._is_too_old:
            self._fall_back()
        elif self._is_early:
            self._come_later()
        elif (why := self._stranding) is not None:
            self._start_over(why)
        elif self._inbox.is_full:
            self._hold()
        else:
            self._read()

    @property
    def _stranding(self) -> KafkaError | None:
        """Why the client can't go on, if it can't."""
        self._is_set_back = self._is_set_back or self._wall_clock.set_back_s() > SET_BACK_S
        if self._is_set_back:
            return KafkaError(KafkaError._FAIL, "the clock was set back, and the client may wait as much longer")
        return self._statistics.stranding or self._rebalances.stranding

    def _read(self) -> None:
        # Not `consume` alone: it waits until the whole batch has come.
        first = self._client.poll(_POLL_S)
        if first is not None:
            batches: Read = defaultdict(list)
            self._sorting.sort([first, *self._client.consume(_BATCH - 1, 0)], batches)
            # The brokers' answer may still have been unpacked meanwhile: its other partitions go with the first.
            self._sorting.sort(self._client.consume(_BATCH, 0), batches)
            self._hand_over(batches)

    def _hold(self) -> None:
        until = self._clock() + _PATIENCE_S
        while self._must_wait and (left := until - self._clock()) > 0:
            self._commands.obey(left)
        if self._must_wait:
            self._pause()

    @property
    def _must_wait(self) -> bool:
        return self._inbox.is_full and not self._commands.is_over and self._stranding is None

    def _pause(self) -> None:
        """Read nothing, but keep polling: rebalances go on."""
        self._pauses.pause(self._client, self._client.assignment())
        while self._must_wait:
            self._commands.obey()
            message = self._client.poll(_POLL_S)
            if message is not None:
                self._keep(message)
        self._pauses.end(self._client)

    def _keep(self, message: Message) -> None:
        """Take what came in spite of the pause: it was read before, or is of a partition that became ours since."""
        batches: Read = defaultdict(list)
        self._sorting.sort([message], batches)
        self._hand_over(batches)
        self._pauses.pause(self._client, [TopicPartition(self._stream, number) for number, _ in batches])

    def _tell_of_gap(self, partition: int, epoch: int, start: int, end: int) -> None:
        self._loop.call_soon_threadsafe(self._ownership.gap, partition, epoch, start, end)

    def _hand_over(self, read: Read) -> None:
        # A partition can go while the next are read, and what waited of it is forgotten then: this must not come after.
        epochs, places = self._rebalances.epochs, self._rebalances.places
        batches = {number: batch for (number, epoch), batch in read.items() if epochs.get(number) == epoch}
        if batches:
            self._faults.clear()
            places.update(((number, epochs[number]), batch[-1].offset + 1) for number, batch in batches.items())
            self._inbox.announce(batches)
            self._loop.call_soon_threadsafe(self._inbox.put, batches)

    def _commit(self, request: Request) -> None:
        if self._has_left:
            request.answer(QueueUnavailable("the consumer has left the group already"))
        else:
            self._rebalances.commit(self._client, request)

    def _hear(self, on: Rebalances, error: KafkaError) -> None:
        """A complaint that belongs to no call. A client that is left to close by itself has nothing to say any more."""
        if on is not self._rebalances:
            return
        if is_fatal(error):
            self._hear_of(error, None)
        elif error.code() in _GRAVE:
            self._complain(QueueUnavailable(self._faults.text(otherwise=error)))

    def _hear_of(self, error: KafkaError, partition: int | None) -> None:
        if any(says(error, code) for code in _TOO_OLD) and self._clients.asked_protocol is None:
            self._is_too_old = True
        elif says(error, KafkaError.UNRELEASED_INSTANCE_ID) and self._may_wait_for_our_name():
            self._is_early = True
            self._complain(QueueUnavailable(sentence(error)))
        else:
            if is_fatal(error):
                self._rebalances.lose_all()
            meaning, is_final = of_reading(error, self._group, self._stream, partition)
            self._complain(meaning, is_final=is_final)

    def _may_wait_for_our_name(self) -> bool:
        """Whether it may be that of a member which died: for a session the brokers (KIP-848) keep its place."""
        # Who was a member already hears the same of a second one under its name.
        if self._is_late_at is None:
            self._is_late_at = self._clock() + max(self._session_s, _BROKERS_SESSION_S)
        return not self._rebalances.epochs and self._clock() < self._is_late_at

    def _complain(self, error: QueueError, *, is_final: bool = False) -> None:
        self._loop.call_soon_threadsafe(lambda: self._inbox.complain(error, is_final=is_final))

    def _fall_back(self) -> None:
        log.info("the brokers can't do KIP-848; the classic protocol is used", group=self._group)
        self._is_too_old = False
        self._leave()
        self._protocol = "classic"
        self._join_again()

    def _come_later(self) -> None:
        self._is_early = False
        self._leave()
        self._commands.obey(_AGAIN_S)
        self._join_again()

    def _start_over(self, why: KafkaError) -> None:
        log.error("the client of a consumer can't go on; another one follows", group=self._group, error=why.str())
        self._let_all_go()
        self._leave()
        self._is_late_at = None
        self._join_again()

    def _let_all_go(self) -> None:
        """The client can't tell the group anything, so that nothing is given back: all may be another's already."""
        self._rebalances.lose_all()
        self._commits.abandon()

    def _join_again(self) -> None:
        while not self._commands.is_over:
            try:
                self._client = self._joining()
                return
            except QueueError as error:
                # Files of certificates may just be replaced, or threads be short.
                self._complain(QueueUnavailable(str(error)))
                self._commands.obey(_AGAIN_S)
