"""What may be deleted, and when."""

from dataclasses import dataclass

from forebay.queues.settings import QueueSettings

_MS_AN_HOUR = 3_600_000


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
