"""What a server cuts the connection for, without a word to who is at its other end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Bytes that may stand around what is counted: names, numbers, and what the server reads or answers with it.
_AROUND_BYTES = 64 * 1024

#: As much as no limit.
_ENDLESS = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes."""

    #: Of a record, to be written, and to be read again.
    record: int = _ENDLESS
    #: Of the values that are asked for at once; a single record aside.
    answer: int = _ENDLESS


def limits(config: Mapping[str, str]) -> Limits:
    """From the server's settings, as far as it tells them."""
    # Half of an answer for what is asked for, and half for a record that is larger than what is left of that.
    answer = min(_answers(config.get("client-output-buffer-limit", "")), default=_ENDLESS) // 2
    written = [int(config.get(name, _ENDLESS)) for name in ("proto-max-bulk-len", "client-query-buffer-limit")]
    return Limits(record=max(0, min(answer, *written) - _AROUND_BYTES), answer=answer)


def _answers(setting: str) -> Iterator[int]:
    """The hard and the soft limit of a usual client, of "class hard soft seconds" over and over; 0 is none."""
    words = setting.split()
    if "normal" in words:
        at = words.index("normal")
        yield from filter(None, map(int, words[at + 1 : at + 3]))
