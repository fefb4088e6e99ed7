"""Hearing of new records by LISTEN: a reader waits for its connection's socket, and not for a poll."""

import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, cast

import psycopg
from sqlalchemy import Connection

from ...groups.bell import Bell
from ..database import Place

if TYPE_CHECKING:
    from psycopg import Notify

#: Seconds after which a reader looks without having heard of anything: a producer was killed between its commit and its
#: announcement, or a pooler in between passes none on.
_LOOK_EVERY_S = 1.0

#: What a notification takes is 8,000 bytes; more partitions than that are told as "any".
_PAYLOAD_CHARS = 7_000


def channel_of(stream: int) -> str:
    """Where the producers of a stream announce."""
    return f"forebay_{stream}"


def announcements(places: Iterable[Place]) -> dict[str, str]:
    """Channel → the partitions that have new records; empty when they are too many to list."""
    found: dict[str, list[int]] = {}
    for place in sorted(places):
        found.setdefault(channel_of(place.stream), []).append(place.partition)
    listed = {channel: " ".join(map(str, partitions)) for channel, partitions in found.items()}
    return {channel: payload if len(payload) <= _PAYLOAD_CHARS else "" for channel, payload in listed.items()}


class Listening:
    """A watch over one stream, on the reader's own connection."""

    def __init__(self, stream: int) -> None:
        self._channel = channel_of(stream)
        self._opened: psycopg.Connection[object] | None = None
        self._heard: list[str] = []

    def begin(self, connection: Connection) -> None:
        """As in the protocol. What was heard so far is of commits that the next look sees."""
        opened = cast("psycopg.Connection[object]", connection.connection.dbapi_connection)
        if opened is not self._opened:
            opened.add_notify_handler(self._hear)
            opened.execute(f"LISTEN {self._channel}")
            self._opened = opened
        self._heard.clear()

    def _hear(self, notify: "Notify") -> None:
        self._heard.append(notify.payload)

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """As in the protocol. A connection that is lost meanwhile is told by whatever is read next."""
        opened = self._opened
        if opened is None:
            return
        until = time.monotonic() + min(timeout_s, _LOOK_EVERY_S)
        try:
            # First what came while others' answers were read: the socket has it no more.
            while not self._concerns(opened, partitions) and (left := until - time.monotonic()) > 0:
                if bell.wait(left, opened.fileno()):
                    return
        except psycopg.Error:
            return

    def _concerns(self, opened: "psycopg.Connection[object]", partitions: Collection[int]) -> bool:
        opened.pgconn.consume_input()
        while notify := opened.pgconn.notifies():
            self._heard.append(notify.extra.decode())
            opened.pgconn.consume_input()
        heard, self._heard = self._heard, []
        wanted = set(map(str, partitions))
        return any(not payload or not wanted.isdisjoint(payload.split()) for payload in heard)
