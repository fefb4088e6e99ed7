"""Whether the worker does its work, part by part: for `/live`, `/ready` and the operators."""

from typing import Literal

State = Literal["ok", "degraded", "failing"]

#: From the best to the worst: the whole is as its worst part.
_STATES: tuple[State, ...] = ("ok", "degraded", "failing")


class Health:
    """The state of each part, with the reason. Every part is failing until the worker has joined its group."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[State, str]] = {"group": ("failing", "not joined yet")}

    def ok(self, part: str) -> None:
        """The part works."""
        self._parts[part] = "ok", ""

    def degraded(self, part: str, why: str) -> None:
        """Something waits, and goes on by itself when its cause is gone."""
        self._parts[part] = "degraded", why

    def failing(self, part: str, why: str) -> None:
        """Nothing gets done."""
        self._parts[part] = "failing", why

    @property
    def status(self) -> State:
        """The worst state of any part."""
        return max((state for state, _ in self._parts.values()), key=_STATES.index)

    @property
    def is_ready(self) -> bool:
        """Whether the worker does its work."""
        return self.status != "failing"

    def report(self) -> dict[str, object]:
        """The answer of `/live` and `/ready`."""
        parts = {part: {"state": state, "why": why} for part, (state, why) in self._parts.items()}
        return {"status": self.status, "parts": parts}
