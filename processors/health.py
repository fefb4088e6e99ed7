"""Whether the worker does its work, part by part: for `/live`, `/ready` and the operators."""

from collections.abc import Mapping
from typing import Literal, Protocol

State = Literal["ok", "degraded", "failing"]

#: From the best to the worst: the whole is as its worst part.
_STATES: tuple[State, ...] = ("ok", "degraded", "failing")


class Told(Protocol):
    """Who says how the parts of a process are."""

    @property
    def is_ready(self) -> bool:
        """Whether the work is done."""

    def report(self) -> dict[str, object]:
        """The answer of `/live` and `/ready`."""


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
        return {"status": self.status, "parts": self.parts()}

    def parts(self) -> dict[str, object]:
        """Each part's state and the reason."""
        return {part: {"state": state, "why": why} for part, (state, why) in self._parts.items()}


class HealthOfGroups:
    """Of several groups in one process: each part with its group before it; the whole is as its worst group."""

    def __init__(self, groups: Mapping[str, Health]) -> None:
        self._groups = groups

    @property
    def is_ready(self) -> bool:
        """Whether the work of every group is done."""
        return all(one.is_ready for one in self._groups.values())

    def report(self) -> dict[str, object]:
        """The answer of `/live` and `/ready`."""
        status = max((one.status for one in self._groups.values()), key=_STATES.index)
        told = ((group, one.parts()) for group, one in self._groups.items())
        return {
            "status": status,
            "parts": {f"{group}/{part}": how for group, parts in told for part, how in parts.items()},
        }


def health_of(groups: Mapping[str, Health]) -> Told:
    """Of the groups of a process; of one group its own."""
    return HealthOfGroups(groups) if len(groups) > 1 else next(iter(groups.values()))
