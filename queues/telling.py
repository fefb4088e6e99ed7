"""Telling what became of something to who waits for it."""

from typing import Protocol, TypeVar

from .errors import QueueError

_Kept = TypeVar("_Kept")
_Kept_contra = TypeVar("_Kept_contra", contravariant=True)


class Told(Protocol[_Kept_contra]):
    """Is told once, on the event loop. A future is one."""

    def done(self) -> bool:
        """Whether nobody wants to know any more; then it is not told."""

    def set_result(self, place: _Kept_contra, /) -> None:
        """It is kept, there."""

    def set_exception(self, error: QueueError, /) -> None:
        """It is surely not kept."""


def settle(told: Told[_Kept], outcome: _Kept | QueueError) -> None:
    """Tell it, unless nobody wants to know: a call that was cancelled takes nothing back."""
    if told.done():
        return
    if isinstance(outcome, QueueError):
        told.set_exception(outcome)
    else:
        told.set_result(outcome)
