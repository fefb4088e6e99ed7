"""The note of a commit: what is finished beyond the committed offset, and where to read who is parked.

Layout: `FN`, a version byte, then zlib of unsigned varints: the committed offset it belongs to, the five numbers of the
`Place` but its last, and for each run the distance from the end of the one before (the first: from the committed
offset) and the length. That last one stands behind the zlib, where versions that don't know of it see nothing.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields

from forebay.schemas.errors import ForebayError

#: Offsets from the first on, up to and without the second.
Run = tuple[int, int]

_PREFIX = b"FN\x03"

#: How a note begins → how many numbers its `Place` has. There was one without an `end`.
_PLACE_NUMBERS = {b"FN\x02": 4, _PREFIX: 5}

#: Beyond this many runs a note isn't worth its time; the rest would be handled again after a crash.
_MAX_RUNS = 16_384

#: A note that unpacks to more isn't ours: 16,384 runs of two varints of at most ten bytes.
_MAX_UNPACKED_BYTES = 400_000

#: When a note is too long, so much of what would just fit is taken: the packed size grows unevenly.
_CAUTION = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the streams of parked portals a new owner of the partition begins to read."""

    #: How many owners the group's partition has had: the last one's number.
    generation: int = 0
    #: In the parked stream, and the generation that was in force there.
    position: int = 0
    in_force: int = 0
    #: In the audit stream.
    orders: int = 0
    #: Behind all that the owner knows to be kept in the parked stream.
    end: int = 0
    #: In the parked stream, the first that anybody of the group may still read; 0 while nobody has said so.
    needed: int = 0

    @property
    def begins_anew(self) -> bool:
        """Whether no owner has said of all who were parked how it stands with them, since the group is where it is.

        A new group is so, and one that was moved, or has lost its place: what the parked stream tells of its earlier
        life still waits, but all that the topic has comes again.
        """
        return not self.in_force


_PLACE = [one.name for one in fields(Place) if one.name != "needed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a commit's note says."""

    runs: list[Run] = field(default_factory=list)
    place: Place = Place()


class UnreadableNote(ForebayError):
    """The note was not written by Forebay, is broken, or belongs to another offset (somebody moved the group)."""


def encode_note(committed: int, runs: Sequence[Run], max_bytes: int, place: Place = Place()) -> bytes:
    """The place, and of the runs the lowest that fit; empty when there is nothing to say, or no room even for that."""
    kept = runs[:_MAX_RUNS]
    while kept or place != Place():
        note = _PREFIX + zlib.compress(_packed(committed, place, kept)) + _varint(place.needed)
        if len(note) <= max_bytes:
            return note
        if not kept:
            break
        kept = kept[: int(len(kept) * max_bytes / len(note) * _CAUTION)]
    return b""


def decode_note(committed: int, note: bytes) -> Note:
    """What a note says that came with this committed offset. Raises `UnreadableNote`."""
    if not note:
        return Note()
    place_numbers = _PLACE_NUMBERS.get(note[: len(_PREFIX)])
    if place_numbers is None:
        raise UnreadableNote(f"a note that starts with {note[:3].hex()} is not ours")
    try:
        plain, behind = _unpacked(note[len(_PREFIX) :])
        numbers = list(_numbers(plain))
    except (zlib.error, ValueError) as error:
        raise UnreadableNote(f"the note is broken: {error}") from error
    runs_at = 1 + place_numbers
    if len(numbers) < runs_at or (len(numbers) - runs_at) % 2 or numbers[0] != committed:
        raise UnreadableNote(f"the note belongs to another offset than {committed}; was the group moved by hand?")
    place = dict(zip(_PLACE, numbers[1:runs_at], strict=False))
    return Note(runs=_runs(committed, numbers[runs_at:]), place=Place(**place, needed=_needed(behind)))


def needed_of(note: bytes) -> int:
    """What `Place.needed` is in a note, whatever offset that belongs to; 0 where it does not say so, or is not ours."""
    try:
        return _needed(_unpacked(note[len(_PREFIX) :])[1]) if note[: len(_PREFIX)] in _PLACE_NUMBERS else 0
    except (zlib.error, ValueError):
        return 0


def _packed(committed: int, place: Place, runs: Sequence[Run]) -> bytes:
    out, end = bytearray(), committed
    for number in (committed, *astuple(place)[: len(_PLACE)]):
        _put(out, number)
    for start, stop in runs:
        _put(out, start - end)
        _put(out, stop - start)
        end = stop
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    _put(out, number)
    return bytes(out)


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _needed(behind: bytes) -> int:
    try:
        [number] = _numbers(behind)
    except ValueError:
        return 0
    return number


def _unpacked(packed: bytes) -> tuple[bytes, bytes]:
    """What is packed, and what stands behind it."""
    unpacking = zlib.decompressobj()
    plain = unpacking.decompress(packed, _MAX_UNPACKED_BYTES)
    if not unpacking.eof:
        raise ValueError("it does not end where it should")
    return plain, unpacking.unused_data


def _numbers(plain: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in plain:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("it ends inside a number")


def _runs(committed: int, numbers: list[int]) -> list[Run]:
    runs, end = [], committed
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        start = end + gap
        end = start + length
        runs.append((start, end))
    return runs
