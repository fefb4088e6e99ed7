"""Who should own how many partitions, and what one member does about it. Pure."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group as one member sees it: who lives, which partitions nobody owns, and which it holds.

    `taken` are those that it believes to hold, but another owns.
    """

    me: str
    members: Collection[str]
    free: Collection[int]
    held: Collection[int]
    taken: Collection[int] = ()
    partitions: int


def share(view: GroupView) -> int:
    """How many partitions this member should own: an equal part, and one of the rest for the first by name."""
    everyone = sorted({*view.members, view.me})
    each, rest = divmod(view.partitions, len(everyone))
    return each + (everyone.index(view.me) < rest)


def to_claim(view: GroupView) -> list[int]:
    """The free partitions that this member should take."""
    return sorted(view.free)[: max(0, share(view) - len(view.held))]


def to_give_back(view: GroupView, leaving: Collection[int]) -> list[int]:
    """The partitions that this member should let go, beside those that it is letting go already."""
    surplus = len(view.held) - len(leaving) - share(view)
    staying = sorted(set(view.held) - set(leaving), reverse=True)
    return staying[: max(0, surplus)]
