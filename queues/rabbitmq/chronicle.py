"""A group's stream, read into what the group is."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from forebay.queues.errors import QueueUnavailable

from .group import Group
from .logs import payload

Applied = Callable[[int, Mapping[str, Any], set[int]], None]


class Chronicle:
    """A listener. What was said before the stream's first entry is in a state that somebody wrote behind it."""

    def __init__(self, applied: Applied = lambda offset, told, changed: None) -> None:
        self._applied = applied
        self.begin()

    def begin(self) -> None:
        """As a listener."""
        self.group = Group()
        #: Bytes that were read since the last state.
        self.since_state = 0
        self._first: int | None = None
        self._is_whole = False
        self._held: list[tuple[int, Mapping[str, Any]]] = []

    def read(self, offset: int, body: bytes) -> None:
        """As a listener."""
        if self._first is None:
            self._first = offset
            self._is_whole = offset == 0
        found = payload(body)
        if found is None:
            return
        told = orjson.loads(found)
        self.since_state = 0 if told["do"] == "state" else self.since_state + len(found)
        if self._is_whole:
            self._apply(offset, told)
        elif told["do"] == "state" and told["at"] >= self._first:
            self._load(told)
        else:
            self._held.append((offset, told))

    def _load(self, told: Mapping[str, Any]) -> None:
        self.group, self._is_whole = Group.unpacked(told), True
        held, self._held = self._held, []
        for offset, one in held:
            if offset >= told["at"]:
                self._apply(offset, one)

    def _apply(self, offset: int, told: Mapping[str, Any]) -> None:
        if told["do"] != "state":
            self._applied(offset, told, self.group.apply(offset, told))

    def check(self, queue: str) -> None:
        """Raise `QueueUnavailable` while the group is not known: with an empty one, others would lose their places."""
        if self._first is not None and not self._is_whole:
            raise QueueUnavailable(
                f"{queue}: the group's stream lacks its beginning, and a state of the group behind it; a worker that "
                "lives writes one by and by; if none does, set group to a new name: it begins at the first event kept"
            )
