"""The events of records that come behind each other and are alike, as those are that a portal sends in bulk."""

from .event import PortalEvent, partly_read
from .reading import Reading
from .scan import END, Head, Seen

#: Our ids are UUIDs, and so nearly every record begins with this, and as much.
_UUID_CHARS = 36
_UUID_SIZE = bytes((_UUID_CHARS << 1,))


class Alike:
    """What was read of the last record is true of the next one, too, if its head differs in the id alone.

    For several records of one portal: nearly all of them have its names and, in bulk, one event. Each is asked for
    here first, and decoded where it isn't like the last one.
    """

    __slots__ = ("_last", "seen")

    def __init__(self) -> None:
        #: What the last one began with, up to its id; what stood behind that, up to the end of its head; where its id
        #: began and ended, and its head; how it goes on, and its portal, kind and name.
        self._last: tuple[bytes, bytes, int, int, int, Reading, str, str, str] | None = None
        #: What those who read on saw of it.
        self.seen = Seen()

    def note(self, value: bytes, start: int, head: Head, reading: Reading) -> None:
        """This was read of the record that starts there, and by that it is read on."""
        if value.startswith(_UUID_SIZE, start):
            _, portal, kind, name, rest = head
            begins, ends = start + len(_UUID_SIZE), start + len(_UUID_SIZE) + _UUID_CHARS
            self._last = value[:begins], value[ends:rest], begins, ends, rest, reading, portal, kind, name

    def event(self, value: bytes) -> PortalEvent | None:
        """The event of a record that is like the last one that was noted; None where it isn't, or in doubt.

        What is not like it is the last one then, and noted or not.
        """
        last, self._last = self._last, None
        if last is None:
            return None
        prefix, same, begins, ends, rest, reading, portal, kind, name = last
        # The rest as in `head_of`: nothing of the head was cut off, and the record ends as one does.
        if value[ends:rest] != same or value[:begins] != prefix or rest >= len(value) or value[-1] != END:
            return None
        try:
            event_id = value[begins:ends].decode()
        except UnicodeDecodeError:
            return None
        self._last = last
        return partly_read(reading, value, event_id, portal, kind, name)
