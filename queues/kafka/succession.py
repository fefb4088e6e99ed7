"""The clients of a producer, one after the other: where one can't go on, another follows."""

import asyncio
from collections.abc import Callable, Sized

from confluent_kafka import KafkaError

from forebay.schemas.logger import get_logger

from .clients import Clients
from .faults import sentence
from .producer_client import ProducerClient
from .statistics import WARM
from .wall_clock import SET_BACK_S, WallClock

log = get_logger(__name__)

#: Before a client follows one that never was ready: until somebody has done something it is refused like that one.
_RENEWAL_S = 1.0

#: So long a client that met a fatal error is waited for: what it has on its way is still answered.
_LAST_WORDS_S = 1.0

#: Between two looks at whether it was.
_LOOK_S = 0.001

#: After batches were refused records are sent one by one, for so many statistics: ten minutes.
_WARY = 1200


class Succession:
    """Used on one event loop.

    A client that met a fatal error, or has lost every broker, can't say what became of the records that were under way:
    the next one sends all that is `due` again. The same follows when the wall clock is set back, since the threads of
    the client wait by it, and would so much longer. `hear` has the client tell what it knows, `go_on` gives the next
    one all that is due, and `on_statistics` is called with those of each.
    """

    def __init__(
        self,
        clients: Clients,
        due: Sized,
        *,
        hear: Callable[[], None],
        go_on: Callable[[ProducerClient], None],
        on_statistics: Callable[[], None],
    ) -> None:
        self._clients, self._due = clients, due
        self._hear, self._go_on, self._on_statistics = hear, go_on, on_statistics
        #: Why the client before this one could not go on, or no other could be made, until one is ready.
        self.why_not = ""
        #: Why there is no client at all just now; empty while there is one.
        self.cannot_be_made = ""
        #: Whether any was ready.
        self.was_warm = False
        #: For how many statistics more records are sent one by one.
        self._wary = 0
        self._renewal: asyncio.TimerHandle | None = None
        self._wall_clock = WallClock()
        self.client = self._made()

    def _made(self) -> ProducerClient:
        return ProducerClient(self._clients, self._read_statistics, sends_singly=self._wary > 0)

    @property
    def is_changing(self) -> bool:
        """Whether another one is about to follow."""
        return self._renewal is not None

    def be_wary(self) -> None:
        """Have the next ones send each record by itself for a while."""
        self._wary = _WARY

    def give_up(self, why: KafkaError) -> None:
        """Let another one follow."""
        log.error("the client of a producer can't go on; another one follows", error=why.str(), due=len(self._due))
        self.why_not = sentence(why)
        # What is on its way is waited for: sent again at once, it would be kept twice.
        self.client.purge(in_flight=False)
        self._let_another_follow(_LAST_WORDS_S)

    def look(self) -> None:
        """Let another one follow, if the wall clock was set back."""
        back_s = self._wall_clock.set_back_s()
        if back_s > SET_BACK_S and not self.is_changing:
            log.warning(
                "the clock was set back, and a producer's client may wait as much longer; another one follows",
                seconds=round(back_s, 1),
                due=len(self._due),
            )
            self._let_another_follow()

    def _let_another_follow(self, patience_s: float = 0) -> None:
        client, loop = self.client, asyncio.get_running_loop()
        client.is_spent = True
        # What was denied is told, and not sent again; it waits for no other but what is on its way behind it.
        is_sent_again = client.not_taken is not None and client.denied is None
        wait_s = 0 if client.statistics.state == WARM and not is_sent_again else _RENEWAL_S
        self._renewal = loop.call_later(wait_s, self._renew, loop.time() + patience_s)

    def _renew(self, at_latest: float) -> None:
        former, loop = self.client, asyncio.get_running_loop()
        if len(former.own) and loop.time() < at_latest:
            # What was on its way behind a record that was not taken comes back into the client's queue.
            former.purge(in_flight=False)
            self._renewal = loop.call_later(_LOOK_S, self._renew, at_latest)
            return
        former.purge()
        self._hear()
        try:
            self.client = self._made()
        except Exception as error:  # whatever it is, as files that are just replaced: without a client nothing is sent
            log.error("another client of a producer can't be made just now", error=str(error), due=len(self._due))
            self.cannot_be_made = self.why_not = f"another client can't be made: {error}"
            self._renewal = loop.call_later(_RENEWAL_S, self._renew, at_latest)
            return
        self._renewal, self.cannot_be_made = None, ""
        self._go_on(self.client)
        former.end()

    def _read_statistics(self) -> None:
        client = self.client
        if client.statistics.state == WARM:
            self.was_warm = True
            self.why_not = self.why_not if client.is_spent else ""
        if self._wary > 0:
            self._wary -= 1
            if self._wary == 0 and client.sends_singly and not self.is_changing:
                self._let_another_follow(_LAST_WORDS_S)
        self._on_statistics()

    def stop(self) -> None:
        """No other one follows any more."""
        if self._renewal is not None:
            self._renewal.cancel()
