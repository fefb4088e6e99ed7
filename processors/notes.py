"""The note of a commit: which offsets beyond the committed one are finished too.

Layout: `FN`, a version byte, then zlib of unsigned varints: the committed offset it belongs to, and for each run the
distance from the end of the one before (the first: from the committed offset) and the length.
"""

import zlib
from collections.abc import Iterator, Sequence

from forebay.schemas.errors import ForebayError

#: Offsets from the first on, up to and without the second.
Run = tuple[int, int]

_PREFIX = b"FN\x01"

#: Beyond this many runs a note isn't worth its time; the rest would be handled again after a crash.
_MAX_RUNS = 16_384

#: A note that unpacks to more isn't ours: 16,384 runs of two varints of at most ten bytes.
_MAX_UNPACKED_BYTES = 400_000

#: When a note is too long, so much of what would just fit is taken: the packed size grows unevenly.
_CAUTION = 0.9


class UnreadableNote(ForebayError):
    """The note was not written by Forebay, is broken, or belongs to another offset (somebody moved the group)."""


def encode_note(committed: int, runs: Sequence[Run], max_bytes: int) -> bytes:
    """The lowest runs that fit; empty when there is nothing to say."""
    kept = runs[:_MAX_RUNS]
    while kept:
        note = _PREFIX + zlib.compress(_packed(committed, kept))
        if len(note) <= max_bytes:
            return note
        kept = kept[: int(len(kept) * min(max_bytes / len(note), 1) * _CAUTION)]
    return b""


def decode_note(committed: int, note: bytes) -> list[Run]:
    """The runs of a note that came with this committed offset. Raises `UnreadableNote`."""
    if not note:
        return []
    if not note.startswith(_PREFIX):
        raise UnreadableNote(f"a note that starts with {note[:3].hex()} is not ours")
    try:
        numbers = list(_numbers(_unpacked(note[len(_PREFIX) :])))
    except (zlib.error, ValueError) as error:
        raise UnreadableNote(f"the note is broken: {error}") from error
    if not numbers or len(numbers) % 2 == 0 or numbers[0] != committed:
        raise UnreadableNote(f"the note belongs to another offset than {committed}; was the group moved by hand?")
    return _runs(committed, numbers[1:])


def _packed(committed: int, runs: Sequence[Run]) -> bytes:
    out, end = bytearray(), committed
    _put(out, committed)
    for start, stop in runs:
        _put(out, start - end)
        _put(out, stop - start)
        end = stop
    return bytes(out)


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    plain = unpacking.decompress(packed, _MAX_UNPACKED_BYTES)
    if not unpacking.eof:
        raise ValueError("it does not end where it should")
    return plain


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
