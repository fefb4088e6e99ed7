"""A call of `send` on its way, and how it is told what became of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from forebay.queues.contract import Delivery, Position, Record
from forebay.queues.errors import QueueError, QueueUnavailable, RecordRefused, anew
from forebay.queues.telling import settle

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
        settle(sent.delivery, outcome)


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
    told = error if isinstance(error, QueueError) else QueueUnavailable(f"the batch could not be written: {error!r}")
    return [anew(told) for _ in batch]
