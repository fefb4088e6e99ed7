"""What was found when a queue was looked at: one thing a finding, with what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]

#: What one may do with a stream. To see that it is there is needed for every one.
Right = Literal["read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: State
    detail: str
    remedy: str = ""

    def row(self) -> dict[str, object]:
        """The finding for programs."""
        return {"check": self.check, "state": self.state, "detail": self.detail, "remedy": self.remedy}

    def text(self) -> str:
        """The finding for people."""
        return f"{self.state:<5}{self.check}: {self.detail}" + (f"  → {self.remedy}" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What will be asked of a queue: which streams and what of each, of how many partitions, how large a record."""

    streams: Mapping[str, frozenset[Right]]
    partitions: int
    #: The one that takes the events; the others keep what waits for a person.
    events: str
    #: None where nothing is consumed.
    group: str | None = None
    #: The stream of facts about portals, which has one partition and is compacted; None where none is kept.
    compacted: str | None = None
    record_bytes: int = 0

    def partitions_of(self, stream: str) -> int:
        """How many partitions the stream should have."""
        return 1 if stream == self.compacted else self.partitions
