"""A group's stream, read into what the group is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from forebay.queues.errors import QueueUnavailable

from .faults import NotThere
from .group import Group
from .logs import payload

#: Is told of an entry: where it stands, and the partitions whose commit it was, by their owner. None: what it did is in
#: the state with which we began, and can't be told from it.
Applied = Callable[[int, Mapping[str, Any], set[int] | None], None]


class GroupGone(QueueUnavailable):
    """The group's stream was deleted: by hand, or with all that the virtual host had."""


@contextmanager
def gone(queue: str) -> Iterator[None]:
    """Raise `GroupGone` where the group's stream is not there. It is not made anew: an empty one knows no place."""
    try:
        yield
    except NotThere as error:
        raise GroupGone(
            f"{queue}: the group's stream was deleted, and with it how far the group was; set group to a new name: it "
            "begins at the first event kept"
        ) from error


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
        #: The last wish for a state, and where the latest state was whole.
        self._asked, self._told = -1, 0

    @property
    def is_lacking(self) -> bool:
        """Whether a state is missing."""
        return self._first is not None and not self._is_whole

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for a state: none was written by one who had read the wish."""
        return self._asked >= self._told

    def read(self, offset: int, body: bytes) -> None:
        """As a listener."""
        if self._first is None:
            self._first = offset
            self._is_whole = offset == 0
        found = payload(body)
        if found is None:
            return
        told = orjson.loads(found)
        self._note(offset, told, len(found))
        if self._is_whole:
            self._apply(offset, told)
        elif told["do"] == "state" and told["at"] >= self._first:
            self._load(offset, told)
        else:
            self._held.append((offset, told))

    def _note(self, offset: int, told: Mapping[str, Any], size: int) -> None:
        self.since_state += size
        if told["do"] == "ask":
            self._asked = offset
        elif told["do"] == "state":
            self.since_state, self._told = 0, max(self._told, told["at"])

    def _load(self, offset: int, told: Mapping[str, Any]) -> None:
        self.group, self._is_whole = Group.unpacked(told), True
        held, self._held = self._held, []
        for at, one in held:
            if at >= told["at"]:
                self._apply(at, one)
            else:
                self._applied(at, one, None)
        self._apply(offset, told)

    def _apply(self, offset: int, told: Mapping[str, Any]) -> None:
        self._applied(offset, told, self.group.apply(offset, told))

    def check(self, queue: str) -> None:
        """Raise `QueueUnavailable` while the group is not known: with an empty one, others would lose their places."""
        if self.is_lacking:
            raise QueueUnavailable(
                f"{queue}: the group's stream lacks its beginning, and a state of the group behind it; a worker that "
                "lives writes one when it is asked; if none does, set group to a new name: it begins at the first "
                "event kept"
            )
