"""A call of `send` on its way, and how it is told what became of it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeGuard

from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused

Outcome = Position | QueueError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One call of `send`."""

    stream: str
    record: Record
    headers: bytes
    delivery: Delivery

    @property
    def size(self) -> int:
        """Bytes of it that grow with the record."""
        return len(self.headers) + len(self.record.value)


def answer(batch: Sequence[Sent], outcomes: Sequence[Outcome]) -> None:
    """Tell each call its outcome."""
    for sent, outcome in zip(batch, outcomes, strict=True):
        # Whoever was cancelled has stopped waiting, and left us an answer that is done.
        with suppress(asyncio.InvalidStateError):
            if isinstance(outcome, QueueError):
                sent.delivery.set_exception(outcome)
            else:
                sent.delivery.set_result(outcome)


def by_stream(batch: Sequence[Sent], write: Callable[[str, Sequence[Sent]], Sequence[Outcome]]) -> Sequence[Outcome]:
    """The outcomes of a batch of which is written what each stream gets."""
    places: dict[str, list[int]] = {}
    for at, sent in enumerate(batch):
        places.setdefault(sent.stream, []).append(at)
    outcomes: dict[int, Outcome] = {}
    for name, here in places.items():
        outcomes |= zip(here, write(name, [batch[at] for at in here]), strict=True)
    return [outcomes[at] for at in range(len(batch))]


def leaves_a_gap(outcome: Outcome) -> TypeGuard[QueueError]:
    """Whether the record is not kept, and may be sent again."""
    return isinstance(outcome, QueueError) and not isinstance(outcome, RecordRefused)


def failed(batch: Sequence[Sent], error: Exception) -> list[Outcome]:
    """The error for each of them."""
    return [_copy(error) for _ in batch]


def _copy(error: Exception) -> QueueError:
    """The error anew: one exception that many callers raise would gather all of their tracebacks."""
    if not isinstance(error, QueueError):
        return QueueUnavailable(f"the batch could not be written: {error!r}")
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
