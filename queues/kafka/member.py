"""A member of a group in a thread of its own, which polls whatever the handlers do."""

import asyncio
import time
from collections.abc import Callable
from itertools import count
from threading import Thread

from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.logger import get_logger

from .clients import Clients
from .commands import Commands
from .commits import Request
from .faults import is_fatal, of_reading, sentence
from .group_client import GroupClient
from .inbox import Inbox
from .notes import Notes
from .ownership import Ownership
from .rebalances import Rebalances
from .remedies import says

log = get_logger(__name__)

#: Complaints of the client that `fetch` passes on: then nothing works. One broker of several is no reason.
_GRAVE = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE})

#: What a client says whose brokers can't do KIP-848.
_TOO_OLD = (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE)

#: What ends a client whose group just has no place for us, until somebody has done something. The last one says that
#: others use the classic protocol: what librdkafka's assignor tells its members, brokers don't take over (Apache
#: Kafka's issue 18134).
_SHUT_OUT = (
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.GROUP_MAX_SIZE_REACHED,
    KafkaError.GROUP_ID_NOT_FOUND,
)

#: Brokers that don't know of `session_s` keep the place of a member for so long.
_BROKERS_SESSION_S = 45.0

#: So long may it take until the group has let us in: by the classic protocol it waits for all its members.
JOINING_S = 10.0

#: Between two attempts to make a client that follows another.
_AGAIN_S = 1.0


class Member:
    """Reads ahead into the inbox, by one client after the other."""

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients, self._stream, self._group, self._session_s = clients, stream, group, session_s
        self._inbox, self._commands, self._clock = inbox, commands, clock
        self._ownership, self._notes = ownership, notes
        self._loop = asyncio.get_running_loop()
        #: None is used twice, by whatever client.
        self._epochs = count(1)
        self._is_early = self._has_left = False
        #: Why the classic protocol is to be used from now on; empty while nothing says so.
        self._too_new = ""
        #: Until then a member of our name that died without a goodbye may still have its place.
        self._is_late_at: float | None = None
        #: Since when we are not in the group, and why a client did not get on there before another followed.
        self._absent_since: float | None = clock()
        self._hindrance = ""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._protocol = protocol
        self._client = self._joining()

    def start(self) -> None:
        """Begin to poll, and so join the group."""
        Thread(target=self._run, name=f"forebay-{self._group}", daemon=True).start()

    @property
    def is_absent(self) -> bool:
        """Whether the group has not let us in yet, or not again."""
        return self._absent_since is not None

    def check(self) -> None:
        """Raise `QueueUnavailable` for who gets nothing, and would wait for ever and be taken for well; on the loop."""
        since = self._absent_since
        if why := self._client.rebalances.hindrance or self._hindrance:
            raise QueueUnavailable(why)
        if since is not None and self._clock() - since >= JOINING_S:
            last = self._client.faults.last
            why = sentence(last) if last else "no broker coordinates it just now, or its members have not all joined"
            raise QueueUnavailable(f"group {self._group} has not let us in. {why}; look at `forebay doctor`")

    def commit(self, request: Request) -> None:
        """Have it committed; called on the loop."""
        self._commands.put(lambda: self._commit(request))
        if self._ended.done():
            self._commands.obey()

    async def stop(self) -> None:
        """Give everything back and leave. Idempotent."""
        self._commands.end()
        await asyncio.shield(self._ended)

    def _joining(self) -> GroupClient:
        """The next client."""
        return GroupClient(
            clients=self._clients,
            stream=self._stream,
            group=self._group,
            session_s=self._session_s,
            protocol=self._protocol,
            ownership=self._ownership,
            inbox=self._inbox,
            commands=self._commands,
            notes=self._notes,
            loop=self._loop,
            epochs=self._epochs,
            on_error=self._hear_of,
            on_complaint=self._hear,
            clock=self._clock,
        )

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
            self._client.give_all_back()
        # Whatever it is: nobody else would know that nothing is read any more. What a rebalance raises that fails is
        # librdkafka's own error, which is not even a BaseException.
        except (Exception, KafkaError) as error:  # type: ignore[misc]
            if self._loop.is_closed():
                raise
            log.error("the consumer's thread ended", group=self._group, error=repr(error))
            self._complain(QueueError(f"the consumer ended: {error!r}"), is_final=True)
        finally:
            try:
                self._client.leave()
            finally:
                # Also where the goodbye fails, whoever closes us waits for the end.
                self._client.lose_all()
                self._has_left = True
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ended.set_result(None)
        # Whatever came too late for the thread is answered here.
        self._commands.obey()

    def _turn(self) -> None:
        self._commands.obey()
        self._look_around()
        if self._too_new:
            self._fall_back()
        elif self._is_early:
            self._come_later()
        elif (why := self._client.stranding) is not None:
            self._start_over(why)
        else:
            self._client.read()

    def _look_around(self) -> None:
        if self._client.is_in_group:
            self._absent_since, self._hindrance = None, ""
        elif self._absent_since is None:
            self._absent_since = self._clock()

    def _commit(self, request: Request) -> None:
        if self._has_left:
            request.answer(QueueUnavailable("the consumer has left the group already"))
        else:
            self._client.commit(request)

    def _hear(self, on: Rebalances, error: KafkaError) -> None:
        """A complaint that belongs to no call."""
        if on.has_left:
            return
        if is_fatal(error):
            self._hear_of(error, None)
        elif error.code() in _GRAVE:
            self._complain(QueueUnavailable(self._client.faults.text(otherwise=error)))

    def _hear_of(self, error: KafkaError, partition: int | None) -> None:
        if too_new := self._is_too_new(error):
            self._too_new = too_new
        elif self._may_join_later(error):
            self._is_early = True
            self._complain(QueueUnavailable(sentence(error)))
        else:
            if is_fatal(error):
                self._client.end()
            meaning, is_final = of_reading(error, self._group, self._stream, partition)
            self._complain(meaning, is_final=is_final)

    def _is_too_new(self, error: KafkaError) -> str:
        """Why KIP-848 can't be used; empty where the error doesn't say that, or somebody insists on a protocol."""
        if self._clients.asked_protocol is not None or self._protocol == "classic":
            return ""
        if any(says(error, code) for code in _TOO_OLD):
            return "the brokers can't do KIP-848"
        # Who was a member is none of a group that is gone.
        is_refused = says(error, KafkaError.GROUP_ID_NOT_FOUND) and not self._client.rebalances.ours
        return "there are members who can't be taken over to KIP-848" if is_refused and is_fatal(error) else ""

    def _may_join_later(self, error: KafkaError) -> bool:
        """Whether another client may be let in that the group has no place for now."""
        if is_fatal(error) and any(says(error, code) for code in _SHUT_OUT):
            return True
        return says(error, KafkaError.UNRELEASED_INSTANCE_ID) and self._may_wait_for_our_name()

    def _may_wait_for_our_name(self) -> bool:
        """Whether it may be that of a member which died: for a session the brokers (KIP-848) keep its place."""
        # Who was a member already hears the same of a second one under its name.
        if self._is_late_at is None:
            self._is_late_at = self._clock() + max(self._session_s, _BROKERS_SESSION_S)
        return not self._client.rebalances.ours and self._clock() < self._is_late_at

    def _complain(self, error: QueueError, *, is_final: bool = False) -> None:
        self._loop.call_soon_threadsafe(lambda: self._inbox.complain(error, is_final=is_final))

    def _fall_back(self) -> None:
        log.info("the classic protocol is used", group=self._group, reason=self._too_new)
        self._too_new = ""
        self._let_go()
        self._protocol = "classic"
        self._join_again()

    def _come_later(self) -> None:
        self._is_early = False
        self._let_go()
        self._commands.obey(_AGAIN_S)
        self._join_again()

    def _start_over(self, why: KafkaError) -> None:
        log.error("the client of a consumer can't go on; another one follows", group=self._group, error=why.str())
        self._hindrance = self._client.rebalances.hindrance
        self._let_go()
        self._is_late_at = None
        self._join_again()

    def _let_go(self) -> None:
        """Of a client that is followed: after a fatal error it calls nobody back, and answers no commit."""
        self._client.lose_all()
        self._client.leave()

    def _join_again(self) -> None:
        while not self._commands.is_over:
            try:
                self._client = self._joining()
                return
            except QueueError as error:
                # Files of certificates may just be replaced, or threads be short.
                self._complain(QueueUnavailable(str(error)))
                self._commands.obey(_AGAIN_S)
