"""The events of records that come behind each other and are alike, as those are that a portal sends in bulk."""

from .event import PortalEvent, partly_read
from .reading import Reading
from .scan import END, Head
from .versions import Version

#: Our ids are UUIDs, and so nearly every record begins with this, and as much.
_UUID_CHARS = 36
_UUID_SIZE = bytes((_UUID_CHARS << 1,))


class Alike:
    """What was read of the last record is true of the next one, too, if its head differs in the id alone.

    For several records of one portal: nearly all of them have its names and, in bulk, one event.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        #: What the last one began with, up to its id; what stood behind that, up to the end of its head; where its id
        #: began and ended, and its head; what had written it, and its portal, kind and name.
        self._last: tuple[bytes, bytes, int, int, int, Version, str, str, str] | None = None

    def note(self, value: bytes, start: int, head: Head, version: Version) -> None:
        """This was read of the record that starts there."""
        if value.startswith(_UUID_SIZE, start):
            _, portal, kind, name, rest = head
            begins, ends = start + len(_UUID_SIZE), start + len(_UUID_SIZE) + _UUID_CHARS
            self._last = value[:begins], value[ends:rest], begins, ends, rest, version, portal, kind, name

    def event(self, value: bytes) -> PortalEvent | None:
        """The event of a record that is like that one; None where it isn't, or in doubt."""
        if self._last is None:
            return None
        prefix, same, begins, ends, rest, version, portal, kind, name = self._last
        # The rest as in `head_of`: nothing of the head was cut off, and the record ends as one does.
        if value[ends:rest] != same or value[:begins] != prefix or rest >= len(value) or value[-1] != END:
            return None
        try:
            event_id = value[begins:ends].decode()
        except UnicodeDecodeError:
            return None
        start = begins - len(_UUID_SIZE)
        return partly_read(Reading(value, start, version, rest), event_id, portal, kind, name)
