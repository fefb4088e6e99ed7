"""The pairs of a form, as they stand in its body."""

from urllib.parse import unquote_to_bytes

#: One pair, percent-decoded: its bracket path and its value.
Pair = tuple[bytes, bytes]


def pairs_of(body: bytes) -> list[Pair]:
    """Every pair as sent, in order and with repeats. Slow."""
    return [_pair(part) for part in body.replace(b"+", b" ").split(b"&") if part]


def _pair(part: bytes) -> Pair:
    name, _, value = part.partition(b"=")
    return unquote_to_bytes(name), unquote_to_bytes(value)


def as_text(octets: bytes) -> str:
    """A path or a value as text; what is not UTF-8 in it is shown as such."""
    return octets.decode("utf-8", "replace")
