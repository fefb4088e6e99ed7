"""What stands in the target since a move began: what is there is not sent a second time."""

from collections import Counter
from hashlib import blake2b

from forebay.queues.contract import Inspector, Record, StoredRecord
from forebay.queues.moves.marker import Ends
from forebay.queues.reading import between

from .errors import CantMove

#: Enough that no two of many millions of records are taken for each other.
_DIGEST_BYTES = 16


class Arrived:
    """Records by what they say: an event's id is in its value, so that two are the same only when they are copies."""

    def __init__(self) -> None:
        self._found: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return self._found.total()

    def add(self, record: StoredRecord) -> None:
        """It stands there."""
        self._found[_digest(record.stream, record)] += 1

    def take(self, stream: str, record: Record) -> bool:
        """Whether it stands in the stream. Each that stands there counts once."""
        digest = _digest(stream, record)
        if not self._found[digest]:
            # A look at a counter adds nothing to it.
            return False
        self._found[digest] -= 1
        return True

    def copy(self) -> "Arrived":
        """Another, from which may be taken."""
        copied = Arrived()
        copied._found = self._found.copy()
        return copied


def _digest(stream: str, record: Record | StoredRecord) -> bytes:
    head = f"{stream}\0{record.key}\0{record.timestamp_ms}\0".encode()
    return blake2b(head + record.value, digest_size=_DIGEST_BYTES).digest()


async def arrived(inspector: Inspector, since: Ends, streams: tuple[str, ...]) -> Arrived:
    """What was written into these streams since they ended there. Raises `CantMove` when some of it is gone."""
    found = Arrived()
    for stream in streams:
        for number, kept in (await inspector.bounds(stream)).items():
            start = since.get(stream, {}).get(number, 0)
            if kept.end < start or kept.start > start:
                raise CantMove(
                    f"{stream} of the target has lost records since the move began (it was made anew, or retention "
                    "took what workers had finished): what was moved can't be told any more. Make its streams anew, "
                    "and say --again"
                )
            async for record in between(inspector, stream, number, start, kept.end):
                found.add(record)
    return found
