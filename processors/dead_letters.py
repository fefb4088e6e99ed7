"""A record that is given up, as the dead letter it becomes, and how that is kept."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from forebay.queues.contract import Position, Producer, Record, StoredRecord
from forebay.queues.errors import QueueError, RecordRefused
from forebay.queues.tracing.contract import Tracer
from forebay.schemas import names
from forebay.schemas.logger import get_logger

from .error_texts import error_class, error_text, error_traceback
from .health import Health

_log = get_logger(__name__)

#: The part of the worker's health.
_PART = "dead_letters"

_DEAD_HEADERS = frozenset(
    {
        names.DEAD_TOPIC,
        names.DEAD_PARTITION,
        names.DEAD_OFFSET,
        names.DEAD_GROUP,
        names.DEAD_HANDLER,
        names.DEAD_ATTEMPTS,
        names.DEAD_ERROR,
        names.DEAD_ERROR_CLASS,
        names.DEAD_TRACEBACK,
        names.DEAD_AT,
    }
)

#: Who waits for a letter's answer keeps a slot from others: one that takes longer is looked for later, and again.
_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """Where, after how many tries and of what a record died. `handler` is empty when none was called."""

    group: str
    handler: str
    attempts: int
    error: BaseException
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Burial:
    """A dead letter that is to be written, why, which records are finished with it, and how often it was not kept."""

    reason: str
    letter: Record
    records: tuple[StoredRecord, ...] = ()
    failures: int = 0
    #: Where it goes, when that is not the dead letters' stream.
    stream: str = ""
    #: It is on its way, and may be kept yet.
    delivery: "asyncio.Future[Position] | None" = None


class _Waiting(NamedTuple):
    """A letter that is not kept, why, and whether its portal still waits for it here."""

    burial: Burial
    why: str
    waits: Callable[[], bool]


class DeadLetters:
    """Writes dead letters. While they can't be written the records stay unfinished, and it heals by itself."""

    def __init__(self, producer: Producer, topic: str, health: Health, tracer: Tracer | None) -> None:
        self._producer, self._stream, self._health, self._tracer = producer, names.dead(topic), health, tracer
        #: The letters that are not kept yet, by identity: who told last is last.
        self._waiting: dict[int, _Waiting] = {}

    async def put(self, burial: Burial, waits: Callable[[], bool] = lambda: True) -> bool:
        """Whether the letter is kept now. One whose answer is still to come is not sent again.

        `waits` says whether its portal still waits for it here.
        """
        try:
            is_kept = await self._is_kept(burial)
        except Exception as error:
            burial.delivery = None
            self._not_kept(burial, error, waits)
            return False
        if is_kept:
            self._waiting.pop(id(burial), None)
            self._tell()
        else:
            burial.failures += 1
            self._wait(burial, "the queue doesn't say whether it keeps them", waits)
        return is_kept

    def _wait(self, burial: Burial, why: str, waits: Callable[[], bool]) -> None:
        self._waiting.pop(id(burial), None)
        self._waiting[id(burial)] = _Waiting(burial, why, waits)
        self._tell()

    def _tell(self) -> None:
        if self._waiting:
            last = next(reversed(self._waiting.values()))
            self._health.degraded(_PART, last.why, self._any_waits)
        else:
            self._health.ok(_PART)

    def _any_waits(self) -> bool:
        self._waiting = {key: one for key, one in self._waiting.items() if one.waits()}
        return bool(self._waiting)

    async def _is_kept(self, burial: Burial) -> bool:
        """False while that isn't known. Raises when it surely is not, as a producer does."""
        if burial.delivery is not None:
            return await _answered(burial.delivery, 0)
        stream = burial.stream or self._stream
        with nullcontext() if self._tracer is None else self._tracer.sends(stream, burial.letter):
            burial.delivery = asyncio.get_running_loop().create_future()
            burial.delivery.add_done_callback(_heard)
            self._producer.submit(stream, burial.letter, burial.delivery)
            return await _answered(burial.delivery, _PATIENCE_S)

    def _not_kept(self, burial: Burial, error: Exception, waits: Callable[[], bool]) -> None:
        # What is no QueueError is a fault, of ours or of a client library, that this one letter may have brought out.
        is_fault = not isinstance(error, QueueError)
        burial.failures += 1
        about = {"portal": burial.letter.key, "error": error_text(error), "tries": burial.failures}
        self._wait(burial, f"can't be written: {about['error']}", waits)
        if is_fault:
            _log.error("dead letter not written: a fault", **about, traceback=error_traceback(error))
        else:
            _log.warning("dead letter not written", **about)
        if is_fault or isinstance(error, RecordRefused):
            burial.letter = without_traceback(burial.letter)


async def _answered(delivery: "asyncio.Future[Position]", within_s: float) -> bool:
    if not delivery.done():
        await asyncio.wait([delivery], timeout=within_s)
    return delivery.done() and delivery.result() is not None


def _heard(delivery: "asyncio.Future[Position]") -> None:
    # Its lane may be another's by now, and nobody asks any more.
    delivery.exception()


def dead_letter(record: StoredRecord, died: Circumstances) -> Record:
    """The record with its own key, value and headers, and the headers that say what happened."""
    own = without_death(record.headers)
    said = ((name, text.encode(errors="replace")) for name, text in _said(record, died))
    return Record(key=record.key, value=record.value, timestamp_ms=died.at_ms, headers=(*own, *said))


def without_death(headers: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """The headers that the record of a dead letter had."""
    return tuple(header for header in headers if header[0] not in _DEAD_HEADERS)


def place_of(record: StoredRecord) -> tuple[str, int, int]:
    """Stream, partition and offset of the record that a dead letter was; of any other record its own."""
    headers = dict(record.headers)
    try:
        topic, partition, offset = (
            headers[name].decode() for name in (names.DEAD_TOPIC, names.DEAD_PARTITION, names.DEAD_OFFSET)
        )
        return topic, int(partition), int(offset)
    except (KeyError, ValueError):
        return record.stream, record.partition, record.offset


def without_traceback(letter: Record) -> Record:
    """The same, smaller: for a queue that refuses it as it is."""
    kept = tuple(header for header in letter.headers if header[0] != names.DEAD_TRACEBACK)
    return replace(letter, headers=kept)


def _said(record: StoredRecord, died: Circumstances) -> Iterable[tuple[str, str]]:
    yield names.DEAD_TOPIC, record.stream
    yield names.DEAD_PARTITION, str(record.partition)
    yield names.DEAD_OFFSET, str(record.offset)
    yield names.DEAD_GROUP, died.group
    yield names.DEAD_HANDLER, died.handler
    yield names.DEAD_ATTEMPTS, str(died.attempts)
    yield names.DEAD_ERROR, error_text(died.error)
    yield names.DEAD_ERROR_CLASS, error_class(died.error)
    yield names.DEAD_TRACEBACK, error_traceback(died.error)
    yield names.DEAD_AT, datetime.fromtimestamp(died.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
