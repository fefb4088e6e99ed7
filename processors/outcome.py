"""How one try at an event ended. The worker looks at the outcome, decides, and then acts."""

from dataclasses import dataclass
from typing import ClassVar

from forebay.schemas.errors import ForebayError, UndecodableEvent
from forebay.schemas.event import PortalEvent

from .errors import Discarded, Reject, Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The handler returned. `late` when that was after its deadline, which only a thread can do."""

    late: bool = False

    @property
    def label(self) -> str:
        """The outcome in metrics."""
        return "late" if self.late else "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The handler raised something that is neither `Retry` nor `Reject`, or met its deadline."""

    label: ClassVar[str] = "failed"
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAsked:
    """The handler raised `Retry`."""

    label: ClassVar[str] = "retry"
    error: Retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The handler raised `Reject`."""

    label: ClassVar[str] = "rejected"
    error: Reject


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """The record is no event, or its body is broken, which shows when a handler first looks at it."""

    label: ClassVar[str] = "undecodable"
    error: UndecodableEvent


def faulty(error: Exception) -> Failed | Undecodable:
    """The outcome of a try at which something else than the handler raised: perhaps who looked at a broken record."""
    return Undecodable(error=error) if isinstance(error, UndecodableEvent) else Failed(error=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlearned:
    """The id of the record's schema is not known yet; the registry is being asked."""

    label: ClassVar[str] = "unlearned"
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsure:
    """Whether the event was handled already can't be looked up just now."""

    label: ClassVar[str] = "unsure"
    wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """The same was handled already, as the handler's `dedup` has it."""

    label: ClassVar[str] = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproved:
    """The handler wants verified events only, and the event's portal may still be verified."""

    label: ClassVar[str] = "unproved"
    wait_s: float
    error: ForebayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprovable:
    """The handler wants verified events only, and the event's portal will not be verified."""

    label: ClassVar[str] = "unverified"
    event: PortalEvent
    error: ForebayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled:
    """No handler is registered for the event."""

    label: ClassVar[str] = "unhandled"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """An operator gave the record up."""

    label: ClassVar[str] = "discarded"
    error: Discarded


#: Why a record is not shown to a handler.
Unread = GivenUp | Undecodable | Unlearned | Unproved | Unprovable

Outcome = Done | Failed | RetryAsked | Rejected | Unread | Unsure | Duplicate | Unhandled

DONE = Done()
UNHANDLED = Unhandled()
DUPLICATE = Duplicate()
