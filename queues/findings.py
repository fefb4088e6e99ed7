"""What was found when a queue was looked at: one thing a finding, with what to do about it."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


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
