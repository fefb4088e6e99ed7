"""What stands in a partition's stream, and what is on its way there.

A record's offset is not where it stands in the stream, but a number that its sequencer has written before it: so it is
the same when the stream has lost its end and got it again, and a second copy is known as one.

    intake                      stream
    entry                       place, entry
    mark                        place, mark
    (too large an entry)        place, refusal
    turn                        -
    -                           birth, takeover: for the stream alone, without a place
"""

from secrets import token_bytes
from struct import Struct
from typing import NamedTuple

from . import logs
from .logs import Identity

#: Who has written an entry, its number there, and how often its writer has begun anew.
_SENT = Struct(">c8sQI")

#: The place, and how far ahead of it the stream itself is, when it is as its sequencer has found it.
_PLACE = Struct(">cQq")

_ENTRY, _PLACED, _MARK, _TURN, _REFUSAL, _BIRTH, _TAKEOVER = (bytes([kind]) for kind in range(2, 9))


class Placed(NamedTuple):
    """An entry with its place: the offset that all but the stream itself know."""

    #: The stream's own offset.
    at: int
    place: int
    entry: bytes
    #: Whether nobody else has written since its sequencer began: it is no late copy then.
    is_sure: bool


def entry(writer: bytes, number: int, attempt: int, payload: bytes) -> bytes:
    """For an intake. No two are alike: each attempt of a writer is one that nobody has made before."""
    return _SENT.pack(_ENTRY, writer, number, attempt) + payload


def mark() -> bytes:
    """For an intake: what stood there before it is in the stream when this is."""
    return _MARK + token_bytes(8)


def turn() -> bytes:
    """For an intake, and not for the stream: what was there before it has come when this does."""
    return _TURN + token_bytes(8)


def birth() -> bytes:
    """What stands first in a stream: of one that is never empty it can be told where it ends."""
    return _BIRTH


def takeover() -> bytes:
    """For a stream alone: what stood there before it was read when this is."""
    return _TAKEOVER + token_bytes(8)


def name(taken: bytes) -> bytes:
    """What an entry of an intake is known by, with its place or without."""
    return taken[1 : _SENT.size]


def head(taken: bytes) -> bytes:
    """So much of it that its name is there."""
    return taken[: _SENT.size]


def is_turn(taken: bytes) -> bool:
    """Whether it is not for the stream."""
    return taken[:1] == _TURN


def is_ours(taken: bytes) -> bool:
    """Whether it is something that goes into a stream."""
    return (taken[:1] == _ENTRY and len(taken) >= _SENT.size) or (taken[:1] == _MARK and len(taken) > 1)


def at_place(place: int, ahead: int, taken: bytes) -> bytes:
    """For a stream: what came from the intake, at its place."""
    return _PLACE.pack(_PLACED, place, ahead) + taken


def refusal(taken: bytes) -> bytes:
    """What stands at the place of an entry that can't be forwarded."""
    return _REFUSAL + name(taken)


def is_refusal(found: bytes) -> bool:
    """Whether an entry is not there, and never will be."""
    return found[:1] == _REFUSAL


def placed(at: int, body: bytes) -> Placed | None:
    """What stands at an offset of the stream; None when it has no place."""
    if body[:1] == _PLACED:
        _, place, ahead = _PLACE.unpack_from(body)
        return Placed(at, place, body[_PLACE.size :], at - place == ahead)
    # Of before there were intakes.
    return Placed(at, at, body, is_sure=True) if logs.is_early(body) else None


def identity(found: bytes) -> Identity | None:
    """Who has written it, or what was refused; None of what is neither."""
    if found[:1] not in (_ENTRY, _REFUSAL):
        return None
    _, writer, number, _ = _SENT.unpack_from(found)
    return Identity(writer, number)


def payload(found: bytes) -> bytes | None:
    """What was written; None when it is no entry."""
    return found[_SENT.size :] if found[:1] == _ENTRY else logs.payload(found)
