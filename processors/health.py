"""Whether the worker does its work, part by part: for `/live`, `/ready` and the operators."""

from collections.abc import Callable, Mapping
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
        #: Part → whether what waits there is still anything to this worker.
        self._lasts: dict[str, Callable[[], bool]] = {}

    def ok(self, part: str) -> None:
        """The part works."""
        self._tell(part, "ok", "")

    def degraded(self, part: str, why: str, lasts: Callable[[], bool] = lambda: True) -> None:
        """Something waits, and goes on by itself when its cause is gone. The part is ok again when it lasts no more."""
        self._tell(part, "degraded", why)
        self._lasts[part] = lasts

    def failing(self, part: str, why: str) -> None:
        """Nothing gets done."""
        self._tell(part, "failing", why)

    def _tell(self, part: str, state: State, why: str) -> None:
        self._parts[part] = state, why
        self._lasts.pop(part, None)

    def _now(self) -> Mapping[str, tuple[State, str]]:
        for part in [part for part, lasts in self._lasts.items() if not lasts()]:
            self.ok(part)
        return self._parts

    @property
    def status(self) -> State:
        """The worst state of any part."""
        return max((state for state, _ in self._now().values()), key=_STATES.index)

    @property
    def is_ready(self) -> bool:
        """Whether the worker does its work."""
        return self.status != "failing"

    def report(self) -> dict[str, object]:
        """The answer of `/live` and `/ready`."""
        return {"status": self.status, "parts": self.parts()}

    def parts(self) -> dict[str, object]:
        """Each part's state and the reason."""
        return {part: {"state": state, "why": why} for part, (state, why) in self._now().items()}


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
