"""How much is held of requests that are not whole yet: bounded, whoever sends them, and however many."""

from typing import Protocol

#: So many bytes of them at the most, and at least so many of the largest bodies.
_MOST_BYTES = 64 << 20
_LARGEST = 8

#: What a piece costs beside its bytes.
_PIECE_BYTES = 100


class Sender(Protocol):
    """Who sends a request."""

    def give_up(self) -> None:
        """Answer that the request came too slowly, and hold nothing of it any more."""


class Coming:
    """Of one process. Where there is no room, the request that has been coming for longest is given up for a newer one.

    An event is small and comes at once, or quickly: who is given up is whoever takes his time.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._most = max(_MOST_BYTES, _LARGEST * max_body_bytes)
        #: In the order of their first bytes.
        self._bytes: dict[Sender, int] = {}
        self._held = 0

    def more(self, sender: Sender, size: int) -> None:
        """So many more bytes have come of a request, and it is not whole with them."""
        size += _PIECE_BYTES
        self._bytes[sender] = self._bytes.get(sender, 0) + size
        self._held += size
        while self._held > self._most:
            oldest = next(iter(self._bytes))
            self.over(oldest)
            oldest.give_up()

    def over(self, sender: Sender) -> None:
        """The request is whole, or its sender is gone."""
        self._held -= self._bytes.pop(sender, 0)
