"""By which number of partitions the records of a portal are placed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay.queues.errors import QueueError


@dataclass(slots=True, kw_only=True)
class Placement:
    """What is known of streams since they were ensured. Used on one event loop."""

    #: Stream → how many partitions it has. An administrator may give it more, at any time.
    counts: dict[str, int] = field(default_factory=dict)
    #: Streams into which nothing may be sent, and why: they have another number than the settings say, or may have, so
    #: that portals would move in the midst of their events.
    refused: dict[str, str] = field(default_factory=dict)
    #: Streams that were there, and were not when something was sent there last, each with why it takes nothing: made
    #: anew, it may have another number.
    missed: dict[str, QueueError] = field(default_factory=dict)
    #: Whether that is just being asked, for the first time.
    is_asking: bool = False

    def take(self, streams: Iterable[str], partitions: int) -> None:
        """They are there, and as they should be."""
        for stream in streams:
            self.counts[stream] = partitions
            self.refused.pop(stream, None)
            self.missed.pop(stream, None)

    def refuse(self, streams: Iterable[str], why: str, *, also_known: bool) -> None:
        """Let nothing be sent there, or only where the number is known: a client would place by the topic's own."""
        for stream in streams:
            if also_known or stream not in self.counts:
                self.refused[stream] = why
