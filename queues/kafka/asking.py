"""The client by which a cluster is asked, and that another follows where it can't go on."""

import asyncio
import time
from functools import partial

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # public, but in no __all__

from ..threads.daemons import Threads
from .clients import Clients
from .closing import in_time, let_end
from .faults import Faults, cause

#: A client that another follows is kept until what it was asked before has ended.
_LAST_WORDS_S = 11.0

#: Between two looks at what belongs to no question: complaints, and the renewal of tokens that we sign ourselves.
_LOOK_S = 0.25

#: How a client fails that reaches nobody; it may also have lost every broker, and look for no other.
_SILENT = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})

#: So many may wait for an answer at once. Those of the loop's own are everybody's: where
#: handlers hold all of them, or the resolver of names does, a commit would wait for them.
_THREADS = 8
_NAME = "forebay-asking"

#: Brokers that have stood still are let back in a moment later.
_FENCED_S = 0.05
_NO_BROKER = "the cluster says that none of its brokers is alive: look after them"

_Answer = asyncio.Future[ClusterMetadata]


class Asking:
    """One client, made with the first question.

    Where it has reached nobody, the next question begins with a fresh one: it may be a client that can't go on (see
    `Statistics`). There are two at most, however often and for how long a cluster is asked that is away.
    """

    def __init__(self, clients: Clients, faults: Faults) -> None:
        self._clients, self._faults = clients, faults
        self._client: AdminClient | None = None
        self._former: AdminClient | None = None
        self._threads = Threads(_THREADS, _NAME)
        self._next_look: asyncio.TimerHandle | None = None
        self._parting: asyncio.TimerHandle | None = None
        #: Under way, by topic and patience.
        self._refreshing: dict[tuple[str, float], _Answer] = {}

    @property
    def client(self) -> AdminClient:
        """The client, which is made unless it is there. Raises `QueueError` when the settings can't be used."""
        if self._client is None:
            self._client = self._clients.admin(self._faults)
            self._look()
        return self._client

    def _look(self) -> None:
        # Nobody else polls it: it would log in for ever with a token that has expired.
        if self._client is not None:
            self._client.poll(0)
            self._next_look = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    async def refresh(self, topic: str, answer_s: float) -> ClusterMetadata:
        """Learn anew who leads the topic's partitions, and who the controller is. Raises `KafkaException`.

        A cluster that knows of no broker just now, as after each of them has stood still, is asked again until it does:
        a client that has been told of no controller would wait for one, and not ask for it again.
        """
        end = time.monotonic() + answer_s
        while not (found := await self._ask(topic, answer_s)).brokers:
            if time.monotonic() > end:
                raise KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE, _NO_BROKER))
            await asyncio.sleep(_FENCED_S)
        return found

    async def _ask(self, topic: str, answer_s: float) -> ClusterMetadata:
        """Who asks while somebody else does, as patiently, waits for the same answer.

        It takes a thread, which does not come back when who asked has gone.
        """
        about = topic, answer_s
        if about not in self._refreshing:
            client = self.client
            ask = partial(client.list_topics, topic, timeout=answer_s)
            answer = self._refreshing[about] = asyncio.get_running_loop().run_in_executor(self._threads, ask)
            answer.add_done_callback(partial(self._judge, about, client))
        answer = self._refreshing[about]
        # Until it was judged, also where it is there at once. A `shield` would tell of errors that nobody waits for.
        await asyncio.wait([answer])
        return answer.result()

    def _judge(self, about: tuple[str, float], client: AdminClient, answer: _Answer) -> None:
        del self._refreshing[about]
        if not answer.cancelled() and _is_of_nobody(answer):
            self._let_another_follow(client)

    def _let_another_follow(self, client: AdminClient) -> None:
        if client is not self._client or self._former is not None:
            return
        # It is the one that knows why.
        client.poll(0)
        self._former, self._client = client, None
        self._stop(self._next_look)
        self._parting = asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._part)

    def _part(self) -> None:
        if self._former is not None:
            let_end(partial(end, self._former))
            self._former = None

    async def close(self) -> None:
        """Let go of the cluster. Idempotent; it takes a second at most, whatever hangs."""
        clients = [client for client in (self._client, self._former) if client is not None]
        self._client = self._former = None
        self._stop(self._next_look)
        self._stop(self._parting)
        threads, self._threads = self._threads, Threads(_THREADS, _NAME)
        threads.shutdown()
        await in_time(*(let_end(partial(end, client)) for client in clients))

    def _stop(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def end(client: AdminClient) -> None:
    """Close the client: it waits for the calls that run, and for its threads.

    One whose coordinator has gone while it was asked may never end: librdkafka's thread for that broker runs on.
    """
    client.__exit__(None, None, None)


def _is_of_nobody(answer: _Answer) -> bool:
    error = answer.exception()
    if isinstance(error, KafkaException):
        return cause(error).code() in _SILENT
    # With no brokers just now, the client lets go of those that it knew.
    return error is None and not answer.result().brokers
