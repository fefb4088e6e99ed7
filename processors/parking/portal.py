"""One parked portal of a partition that is ours: what is known of it, and which of its records are under way."""

import asyncio
from bisect import bisect_left
from collections import deque

from forebay.queues.contract import StoredRecord
from forebay.schemas.logger import get_logger

from . import entries
from .front import Front
from .restored import Replay, Restored, from_parked, from_replay
from .state import FIRST, Mark, PortalState, Replaying

_log = get_logger(__name__)

_GONE = "records of a parked portal are gone"
_IN_THE_TOPIC = f"{_GONE}; they are in the topic as long as that keeps them: forebay replay --portal"


class ParkedPortal:
    """Records come in at one end, to be spilled, and at the other are loaded again, a few at a time.

    What a handler had in hand when its portal was parked is spilled with the others, and still handled once. Records
    finish in any order: the state tells up to where all are finished, and which of those behind it are.
    """

    __slots__ = (
        "anchor",
        "behind",
        "folded",
        "front",
        "handed_over",
        "in_hand",
        "is_broken",
        "is_dirty",
        "is_new",
        "is_through",
        "kept_first",
        "looks",
        "order",
        "per_s",
        "portal",
        "replays",
        "state",
        "takes",
        "timer",
        "to_spill",
        "writer",
    )

    def __init__(self, portal: str, state: PortalState, anchor: int | None = None) -> None:
        self.portal, self.state = portal, state
        #: From where on in the parked stream its state can be read; None while nothing of it was written.
        self.anchor = anchor
        #: The state's `first`, as it was told last.
        self.kept_first = state.first
        #: The state has news that the parked stream has not.
        self.is_dirty = False
        #: The first order that the kept state doesn't know of.
        self.order: int | None = None
        self.to_spill: deque[StoredRecord] = deque()
        #: What the topic has up to this offset was spilled, or is to be.
        self.handed_over = state.settled
        #: The records that a handler has, when what it has was handed over meanwhile. Nothing is loaded until then.
        self.in_hand: list[StoredRecord] = []
        self.front = Front(state)
        #: A record in its lane → the spilled ones that are finished with it.
        self.folded: dict[Mark, list[Mark]] = {}
        #: The offsets of those that came behind what waited and are done. They count as finished when that is known to
        #: be done, too: after a crash it would come again, and behind them.
        self.behind: list[int] = []
        #: All that waits is in its lane, and new records go there behind it.
        self.is_through = False
        self.replays: deque[Replay] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.writer: asyncio.Task[None] | None = None
        #: Nothing that was loaded is finished yet, and nobody knows how fast that will go.
        self.is_new = True
        #: Its budget lets it get through so many events a second, if it has one.
        self.per_s: float | None = None
        #: So many more records it may have in its lane.
        self.takes = 0
        #: So often there was nothing more to be read, since its last record was. What others write in between is no
        #: sign that its own comes.
        self.looks = 0
        #: Some of them are gone: what is left counts, though it stands behind nothing.
        self.is_broken = False

    @property
    def is_over(self) -> bool:
        """Whether nothing waits any more, and the parked stream knows it."""
        return self.state.is_free and not self.to_spill and not self.is_dirty and self.writer is None

    @property
    def records(self) -> int:
        """How many wait."""
        replayed = sum(len(one.offsets) - one.done for one in self.replays)
        return self.state.records + len(self.to_spill) + replayed

    @property
    def wants(self) -> bool:
        """Whether records are to be loaded for it now."""
        if self.state.is_at_rest or self.in_hand:
            return False
        return self.replay is not None or not (self.replays or self.is_loaded)

    @property
    def has_all_in_lane(self) -> bool:
        """Whether nothing of it waits but what its lane has."""
        waits = self.state.is_at_rest or self.replays or self.to_spill
        return not waits and self.is_loaded and not self.in_hand

    @property
    def is_loaded(self) -> bool:
        """Whether its lane has every spilled record that waits."""
        # Not by offsets: what comes again has those of what waited before.
        return len(self.front) >= self.state.records

    @property
    def replay(self) -> Replay | None:
        """The replay of which something is to be loaded, if it is one's turn."""
        replay = self.replays[0] if self.replays else None
        return replay if replay is not None and replay.loaded < len(replay.offsets) else None

    @property
    def load(self) -> int:
        """From where on in the parked stream its next record is looked for."""
        return self.front.position

    def source(self, parked: str) -> tuple[str, int]:
        """From which stream, and from where on, to load; `parked` is the parked stream."""
        replay = self.replay
        return (replay.stream, replay.offsets[replay.loaded]) if replay is not None else (parked, self.load)

    def take(self, record: StoredRecord, topic: str, group: str) -> Restored | None:
        """The record as it goes into the lane; None when it is none that comes next."""
        replay = self.replay
        if replay is not None:
            return self._take_replay(replay, record)
        entry = entries.read(record, group)
        self.front.position = record.offset + 1
        if not isinstance(entry, entries.Spilled) or not self._comes_next(entry):
            return None
        self.front.reach(record.offset, entry.mark)
        self.looks = 0
        if self.is_broken and self.is_loaded:
            self._forget_lost()
        if entry.mark in self.front.done:
            self._advance()
            return None
        return from_parked(record, entry.mark, topic, self.state.discarded if self.state.gives_up(entry.mark) else "")

    def _comes_next(self, entry: entries.Spilled) -> bool:
        before, state = self.front.before, self.state
        return entry.comes_behind(before, state) or (self.is_broken and entry.mark > before)

    def _take_replay(self, replay: Replay, record: StoredRecord) -> Restored | None:
        self._pass_over(replay, record.offset)
        if replay.loaded == len(replay.offsets) or replay.offsets[replay.loaded] != record.offset:
            return None
        replay.loaded += 1
        self.looks = 0
        return from_replay(record, replay, self.state.discarded if replay.order < self.state.discard_orders else "")

    def passed(self, end: int) -> None:
        """All that stands before the end in the stream of its source was seen."""
        replay = self.replay
        if replay is None:
            self.front.position = max(self.front.position, end)
        else:
            self._pass_over(replay, end)

    def _pass_over(self, replay: Replay, end: int) -> None:
        # What is no longer in its stream, since retention took it, can't be handled again.
        behind = bisect_left(replay.offsets, end, replay.loaded)
        if behind > replay.loaded:
            self._leave_out(replay, behind)

    def _leave_out(self, replay: Replay, behind: int) -> None:
        self._tell_lost(_GONE, replay.stream, behind - replay.loaded)
        del replay.offsets[replay.loaded : behind]
        self.tell_replays()

    def give_up_lost(self) -> None:
        """What should come next is gone: go on without it."""
        replay = self.replay
        if replay is not None:
            self._leave_out(replay, len(replay.offsets))
        elif self.is_broken:
            self._forget_lost()
        else:
            self.is_broken, self.front.position = True, self.state.next

    def _forget_lost(self) -> None:
        self._tell_lost(_IN_THE_TOPIC, "the parked stream", self.state.records - len(self.front))
        self.state.records, (self.state.last_lap, self.state.last) = len(self.front), self.front.before
        self.is_dirty = True

    def _tell_lost(self, what: str, stream: str, records: int) -> None:
        if records:
            _log.error(what, portal=self.portal, stream=stream, records=records)

    def spilled(self, record: StoredRecord, after: int, lap: int, position: int) -> None:
        """The first of those to be spilled is kept there, and says behind which spilled one it stands."""
        state = self.state
        if after == FIRST:
            state.begin_at(position)
            # Not what is replayed: that may be in the lane.
            self._load_spilled_again()
        is_known = (self.is_done(record) or self.has_in_hand(record)) and len(self.front) == state.records
        # That it is done could not be told before.
        self.is_dirty = self.is_dirty or self.is_done(record)
        mark = lap, record.offset
        state.spill(mark)
        self.to_spill.popleft()
        if is_known:
            self.front.reach(position, mark)
            self._advance()

    def come_again(self, offset: int) -> None:
        """What the topic has from the offset on is to be handled behind what waits, whatever was spilled of it."""
        self.state.come_again(offset)
        self.handed_over = min(self.handed_over, offset - 1)

    def has_in_hand(self, record: StoredRecord) -> bool:
        """Whether a handler has it."""
        return any(one is record for one in self.in_hand)

    def is_done(self, record: StoredRecord) -> bool:
        """Whether a record that was handed over is finished."""
        return self._mark(record) in self.front.done

    def is_to_be_spilled(self, record: StoredRecord) -> bool:
        """Whether a record that was handed over is not spilled yet."""
        return bool(self.to_spill) and record.offset >= self.to_spill[0].offset

    def finish(self, record: StoredRecord) -> bool:
        """A record is finished. Whether it is one of those that wait, and not one behind them."""
        if folded := self.folded.pop(self._mark(record), ()):
            self.front.done.update(folded)
            self.is_dirty = True
        if isinstance(record, Restored):
            self._finish_restored(record)
        elif record.offset > self.handed_over:
            self._advance()
            return False
        else:
            self.front.done.add(self._mark(record))
            # Also where nobody knows yet where it was spilled, and nothing is read to find out.
            self.is_dirty = True
        self.in_hand = [one for one in self.in_hand if one is not record]
        self._advance()
        return True

    def _finish_restored(self, record: Restored) -> None:
        self.is_dirty, self.is_new = True, False
        if record.replay is None:
            self.front.done.add(self._mark(record))
            return
        record.replay.done += 1
        self.state.start_anew()
        self.tell_replays()

    def tell_replays(self) -> None:
        """Let the state say how far the replays are; what is done, or has nothing left to be read, is none any more."""
        while self.replays and self.replays[0].done >= len(self.replays[0].offsets):
            self.replays.popleft()
        self.state.replays = [Replaying(order=one.order, done=one.done, at_ms=one.at_ms) for one in self.replays]
        self.is_dirty = True

    def _advance(self) -> None:
        if self.front.advance(self.state):
            self.is_dirty = True

    def load_again(self) -> None:
        """Load again from the first record that is not finished. What a handler has is known to be done before."""
        self._load_spilled_again()
        kept = {self._mark(one) for one in self.in_hand}
        self.folded = {mark: folded for mark, folded in self.folded.items() if mark in kept}
        for replay in self.replays:
            replay.loaded = replay.done + sum(
                isinstance(one, Restored) and one.replay is replay for one in self.in_hand
            )

    def _load_spilled_again(self) -> None:
        self.is_through = False
        self.front.read_again(self.state)

    def told(self) -> PortalState:
        """The state as it is to be told."""
        self.front.tell(self.state)
        return self.state

    def fold(self, record: StoredRecord, into: StoredRecord) -> None:
        """What is finished with the record, and itself where it is a spilled one, is finished with another instead."""
        mark = self._mark(record)
        itself = [mark] if isinstance(record, Restored) else []
        if folded := (*self.folded.pop(mark, ()), *itself):
            self.folded.setdefault(self._mark(into), []).extend(folded)

    def _mark(self, record: StoredRecord) -> Mark:
        """Of one of its records that are in memory, spilled or not."""
        # What the topic has given is of the lap in which it is spilled, if it is.
        return (record.lap if isinstance(record, Restored) else self.state.lap), record.offset

    def close(self) -> None:
        """It is another's now."""
        if self.timer is not None:
            self.timer.cancel()
        if self.writer is not None:
            self.writer.cancel()

    def begin(self, reason: str, since_ms: int) -> None:
        """Wait anew: what waited before is done, and up to where the topic's events were parked is said again."""
        self.is_broken = False
        self.state = self.state.begun(reason, since_ms)
        self.is_new = True
        self.front = Front(self.state)
        self.load_again()
