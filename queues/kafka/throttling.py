"""What the brokers hold back by a quota: no call fails, everything is just late, and nothing else tells why."""

import math
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, ThrottleEvent

from forebay.schemas.logger import get_logger

from .faults import Faults
from .remedies import remedy

log = get_logger(__name__)

#: Held back for so long in all, within so long, and events are late by it. Less is how quotas usually even things out.
_MUCH_S = 1.0
_WITHIN_S = 10.0

#: While it lasts, it is logged so often.
_AGAIN_S = 600.0


class Throttling:
    """Of all clients of a cluster in this process, in whichever threads they are polled."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._told_at = -math.inf
        self._held_back_s = 0.0
        #: As it was told last; None as long as it was not.
        self.last: KafkaError | None = None

    def note(self, faults: Faults, event: ThrottleEvent) -> None:
        """For the client's `throttle_cb`, which is called for answers that are held back, and for no others."""
        now = self._clock()
        if now - self._since > _WITHIN_S:
            self._since, self._held_back_s = now, 0.0
        self._held_back_s += event.throttle_time
        if self._held_back_s < _MUCH_S:
            return
        text = (
            f"by a quota, the brokers hold back what we ask: for {self._held_back_s:.1f} s in all, and broker "
            f"{_name(event)} was the last"
        )
        self.last = KafkaError(KafkaError.THROTTLING_QUOTA_EXCEEDED, text)
        faults.note(self.last)
        if now - self._told_at >= _AGAIN_S:
            self._told_at = now
            log.warning("the brokers hold us back by a quota", reason=text, remedy=remedy(self.last))


def _name(event: ThrottleEvent) -> str:
    # On the connection by which a client came it knows no number yet.
    return str(event.broker_id) if event.broker_id >= 0 else event.broker_name.rpartition("/")[0] or event.broker_name
