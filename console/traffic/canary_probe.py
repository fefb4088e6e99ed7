"""An event of the canary on its way: called in as a portal does, found in the queue, finished by the groups."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, time
from typing import Literal
from urllib.parse import quote_plus

from forebay.console.group_lag import nobody_read, read_by_others
from forebay.console.reading import note_of
from forebay.queues.contract import GroupState, Inspector, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.reading import between
from forebay.schemas.names import CANARY, CANARY_DOMAIN, CANARY_KEYS, CANARY_MEMBER, CE_ID
from forebay.schemas.portal import partition_of

from .connection import Connection, target_of
from .load import read

Stage = Literal["answered", "queued", "finished"]

#: In the order in which an event passes them.
STAGES: tuple[Stage, ...] = ("answered", "queued", "finished")

#: Between two looks at the queue: first, then half as much again each time, up to the last. Each asks the brokers.
_FIRST_LOOK_S, _LONGER, _LAST_LOOK_S = 0.02, 1.5, 1.0


@dataclass(slots=True, kw_only=True)
class Passage:
    """How far an event came, and after how many seconds it was at each stage."""

    at: float
    id: str | None = None
    seconds: dict[Stage, float] = field(default_factory=dict)
    #: At which stage it was missed, and why; None when it came through.
    missed: Stage | None = None
    why: str = ""
    #: When the certificate ends that the address has shown.
    certificate_end: float | None = None

    @property
    def came_through(self) -> bool:
        """Whether nothing is missing."""
        return self.missed is None

    def row(self) -> dict[str, object]:
        """The passage for programs."""
        seconds: dict[str, object] = {stage: _rounded(self.seconds.get(stage)) for stage in STAGES}
        return {
            "at": self.at,
            "id": self.id,
            "ok": self.came_through,
            **seconds,
            "missed": self.missed,
            "why": self.why,
        }

    def line(self) -> str:
        """The passage for people."""
        passed = ", ".join(f"{stage} after {seconds:.3f} s" for stage, seconds in self.seconds.items())
        return passed if self.came_through else "; ".join(filter(None, (passed, f"not {self.missed}: {self.why}")))


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


class _Missed(Exception):
    """It did not come to the next stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Sends one event at a time, and follows it up to the last stage that is asked for."""

    url: str
    token: str = field(repr=False)
    topic: str
    groups: Sequence[str]
    until: Stage = "finished"
    patience_s: float = 30.0

    async def go(self, inspector: Inspector) -> Passage:
        """One event. What goes wrong is told in the passage, and never raised."""
        passage = Passage(at=time())
        try:
            async with asyncio.timeout(self.patience_s):
                await self._pass(inspector, passage)
                return passage
        except TimeoutError:
            passage.why = (
                passage.why or await self._unread(inspector, passage) or f"nothing within {self.patience_s:g} s"
            )
        except (_Missed, QueueError) as error:
            passage.why = str(error)
        passage.missed = STAGES[len(passage.seconds)]
        return passage

    async def _pass(self, inspector: Inspector, passage: Passage) -> None:
        since, unread = await self._ends(inspector)
        began = monotonic()
        passage.id = await self._answered(passage)
        passage.seconds["answered"] = monotonic() - began
        if unread is not None:
            raise unread
        record = await self._seen(passage, partial(self._record, inspector, passage.id, since))
        passage.seconds["queued"] = monotonic() - began
        if self.until == "finished":
            await self._seen(passage, partial(self._finished, inspector, record))
            passage.seconds["finished"] = monotonic() - began

    async def _seen(self, passage: Passage, look: Callable[[], Awaitable[StoredRecord | None]]) -> StoredRecord:
        """Look until it is there. A queue that doesn't answer just now is asked again."""
        wait_s = _FIRST_LOOK_S
        while True:
            try:
                if (found := await look()) is not None:
                    passage.why = ""
                    return found
            except QueueUnavailable as error:
                passage.why = str(error)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * _LONGER, _LAST_LOOK_S)

    async def _ends(self, inspector: Inspector) -> tuple[dict[int, int], QueueError | None]:
        """Where the partitions end in which the event may come to stand; an ingest answers without a queue, too."""
        try:
            bounds, number = await inspector.bounds(self.topic), await inspector.partitions(self.topic)
        except QueueError as error:
            return {}, error
        partitions = {partition_of(key, number) for key in CANARY_KEYS}
        return {number: bounds[number].end for number in partitions}, None

    async def _answered(self, passage: Passage) -> str:
        # A connection for each: the way to the ingest, with its names and certificates, is measured too.
        connection = Connection(target_of(self.url))
        try:
            answer = await connection.post(_body(self.token, time()))
            passage.certificate_end = connection.certificate_end
        finally:
            connection.close()
        said, event_id = read(answer)
        if event_id is None:
            raise _Missed(f"{said}; list a token for * or {CANARY_DOMAIN}" if answer.status == 403 else said)
        return event_id

    async def _record(self, inspector: Inspector, event_id: str, since: dict[int, int]) -> StoredRecord | None:
        """The event, if it stands in one of the partitions by now; what was looked at is not looked at again."""
        bounds = await inspector.bounds(self.topic)
        for number, start in since.items():
            async for record in between(inspector, self.topic, number, start, bounds[number].end):
                if dict(record.headers).get(CE_ID) == event_id.encode():
                    return record
            since[number] = bounds[number].end
        return None

    async def _finished(self, inspector: Inspector, record: StoredRecord) -> StoredRecord | None:
        """The event, if all groups have finished it by now."""
        states = await inspector.groups(self.topic, self.groups)
        are_past = (_has_finished(states.get(group, {}).get(record.partition), record.offset) for group in self.groups)
        return record if all(are_past) else None

    async def _unread(self, inspector: Inspector, passage: Passage) -> str:
        """What is to be said of a group that has never read anything, while others have; empty where there is none."""
        if "queued" not in passage.seconds:
            return ""
        with suppress(QueueError, TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_S):
                for group in self.groups:
                    if others := await read_by_others(inspector, self.topic, group):
                        return nobody_read(group, others)
        return ""


def _has_finished(state: GroupState | None, offset: int) -> bool:
    """Whether the group is past it, or has noted that it is finished while one before it is not."""
    if state is None:
        return False
    return offset < state.offset or any(start <= offset < end for start, end in note_of(state).runs)


def _body(token: str, now: float) -> bytes:
    """As a portal's, without anything that would have the ingest ask or seal."""
    auth = {"domain": CANARY_DOMAIN, "member_id": CANARY_MEMBER, "application_token": token}
    pairs = [("event", CANARY), ("ts", str(int(now))), *((f"auth[{name}]", value) for name, value in auth.items())]
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()
