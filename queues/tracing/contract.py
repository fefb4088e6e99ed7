"""What is told of an event's way, for traces.

Where traces are off nobody is told anything: whoever would tell has None in a tracer's place. No method may wait or be
told a secret, and all but `close` return at once; they are called on the event loop.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from forebay.queues.contract import Record, StoredRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One try of a handler: at one record, or at several that it gets together or that fold into one."""

    group: str
    handler: str
    attempt: int
    records: Sequence[StoredRecord]
    #: How many events the handler gets in a list; None where it gets one by itself.
    batch: int | None
    #: An operator ordered it to be handled again.
    replayed: bool


class Call(Protocol):
    """A portal's call, from the request to the answer."""

    def sends(self) -> str:
        """From now on what the call brings is made and sent; gives the `traceparent` that its record carries."""

    def kept(self, *, id: str, portal: str, outcome: str) -> None:
        """The event is kept, and the call will be answered with 200."""

    def refused(self, status: int, slug: str) -> None:
        """It is not, and this is the answer."""


class Try(Protocol):
    """A handler at work."""

    def ended(self, outcome: str, error_class: str = "") -> None:
        """How; with an error, its class and never its text, which is the handler's and may hold anything."""


class Tracer(Protocol):
    """Makes spans. What is told inside of a `with` belongs to its span, and other instrumentation joins it."""

    def call(self, path: str, traceparent: str | None) -> AbstractContextManager[Call]:
        """A call of the endpoint at the path, in its caller's trace if there is one."""

    def tries(self, tried: Tried) -> AbstractContextManager[Try]:
        """A try, in the trace of the first of its records that is sampled, and with links to all."""

    def sends(self, stream: str, record: Record) -> AbstractContextManager[None]:
        """The record is sent on, in its own trace, whose context it keeps."""

    def parks(self, stream: str, record: StoredRecord, attempt: int, delay_s: float | None) -> None:
        """After that try at the record its portal waits in the stream; without a delay until an operator acts."""

    async def close(self) -> None:
        """Send what is still here, within a bound of time."""
