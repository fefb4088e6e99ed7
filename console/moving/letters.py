"""Letters that are still open, as the target gets them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from forebay.console.letters.letters import open_records
from forebay.queues.contract import Inspector, Record
from forebay.queues.moves.marker import Ends
from forebay.schemas import names

from .lacking import Waits, What, plain


async def open_letters(
    inspector: Inspector, topic: str, what: What, base: Mapping[int, int], since: Ends, ends: Ends
) -> AsyncIterator[Waits]:
    """The open dead letters or quarantined calls, in the order of each portal.

    Of those that stood there before the ends; `base` is where the topic ended when the move began.
    """
    stream = names.dead(topic) if what is What.DEAD else names.quarantine(topic)
    start, end = since.get(stream, {}), ends[stream]
    async for record in open_records(inspector, topic, stream):
        # What comes while it is moved is none of what was planned: the next run moves it.
        if start.get(record.partition, 0) <= record.offset < end.get(record.partition, 0):
            yield Waits(what=what, record=counted_back(plain(record), topic, base))


def counted_back(letter: Record, topic: str, ends: Mapping[int, int]) -> Record:
    """The letter, whose event's offset is counted back from the end of the topic that it stood in.

    In the target another event has that offset. Below 0 it is none of the target's, and letters are replayed in the
    order of these offsets: those that were moved before those that are written there.
    """
    said = dict(letter.headers)
    try:
        of, number, offset = (
            said[name].decode() for name in (names.DEAD_TOPIC, names.DEAD_PARTITION, names.DEAD_OFFSET)
        )
        back = int(offset) - ends[int(number)]
    except (KeyError, ValueError):
        return letter
    if of != topic:
        return letter
    headers = ((name, b"%d" % back if name == names.DEAD_OFFSET else value) for name, value in letter.headers)
    return replace(letter, headers=tuple(headers))
