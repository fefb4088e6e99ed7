"""What may be deleted, and when."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forebay.queues.settings import QueueSettings

_MS_AN_HOUR = 3_600_000

#: So long it is deleted without a pause: others write, too, and who stops waits for the end of it.
_STRETCH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Of which stream records are deleted, how old they must be, and how often a consumer looks."""

    stream: str
    keep_ms: int
    every_s: float = 60.0

    @classmethod
    def of(cls, settings: QueueSettings) -> "Retention":
        """As they say. Only the stream of the events is swept: the others keep what waits for a person."""
        return cls(stream=settings.topic, keep_ms=round(settings.retention_h * _MS_AN_HOUR))

    def sweep_every_s(self, stream: str) -> float | None:
        """How often a consumer of the stream looks; None where nothing of it is deleted."""
        return self.every_s if stream == self.stream else None


def has_more(steps: Iterable[Callable[[], bool]], clock: Callable[[], float] = time.monotonic) -> bool:
    """Take each step until it finds nothing to delete any more. Whether the time was over before."""
    until = clock() + _STRETCH_S
    for step in steps:
        while step():
            if clock() >= until:
                return True
    return False
