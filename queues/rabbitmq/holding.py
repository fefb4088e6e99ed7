"""What a sequencer may acknowledge: what the stream has had for so long that it is on the disks."""

from collections import deque


class Holding:
    """The deliveries of one channel, in their order, of which each is done with, or is on its way into the stream."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._last = 0
        #: Publication → delivery of what the stream has not confirmed.
        self._under_way: dict[int, int] = {}
        self._rejected: set[int] = set()
        #: Moments, and the delivery up to which the stream had everything then.
        self._moments: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        """Those on their way."""
        return len(self._under_way)

    def forwarded(self, delivery: int, publication: int) -> None:
        """It is on its way."""
        self._last = delivery
        self._under_way[publication] = delivery

    def skipped(self, delivery: int) -> None:
        """The stream has it already, or is not to have it."""
        self._last = delivery

    def rejected(self, delivery: int) -> None:
        """It went elsewhere: an acknowledgement that names it would cost the channel."""
        self._rejected.add(delivery)

    def confirmed(self, publication: int, *, is_multiple: bool) -> None:
        """The stream has it, or all up to it. Of publications that we don't know nothing is to be known."""
        if not is_multiple:
            self._under_way.pop(publication, None)
            return
        for number in [number for number in self._under_way if number <= publication]:
            del self._under_way[number]

    def ripe(self, now: float) -> int:
        """The delivery up to which all may be acknowledged, 0 for none. Asked every second or so."""
        behind = next(iter(self._under_way.values()), self._last + 1)
        if not self._moments or behind - 1 > self._moments[-1][1]:
            self._moments.append((now, behind - 1))
        ripe = 0
        while self._moments and self._moments[0][0] + self._hold_s <= now:
            ripe = self._moments.popleft()[1]
        while ripe in self._rejected:
            ripe -= 1
        self._rejected = {one for one in self._rejected if one > ripe}
        return ripe
