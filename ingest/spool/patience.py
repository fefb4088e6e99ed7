"""How long a record may wait for the queue: by its own pace, as TCP decides that a segment is lost (RFC 6298)."""

#: Less is no sign of anything: brokers collect garbage, elect leaders, and share their disks.
_LEAST_S = 0.2

#: The weights of a new time in their mean and in their mean deviation, and how many deviations a time may be late.
_OF_MEAN, _OF_DEVIATION, _DEVIATIONS = 1 / 8, 1 / 4, 4


class Patience:
    """Learns how long the queue takes to acknowledge, and from that what is unusual."""

    def __init__(self, deadline_s: float, least_s: float = _LEAST_S) -> None:
        self._deadline_s, self._least_s = deadline_s, least_s
        self._mean = self._deviation = 0.0
        #: A record that has waited for so long is given up to the spool. Never above the deadline.
        self.wait_s = deadline_s

    def learn(self, took_s: float) -> None:
        """A record was acknowledged after so long."""
        if self._mean:
            self._deviation += _OF_DEVIATION * (abs(took_s - self._mean) - self._deviation)
            self._mean += _OF_MEAN * (took_s - self._mean)
        else:
            self._mean, self._deviation = took_s, took_s / 2
        usual_s = self._mean + _DEVIATIONS * self._deviation
        self.wait_s = min(max(usual_s, self._least_s), self._deadline_s)

    def grow(self) -> None:
        """One was given up. A queue that has become slower for good is not left for ever, as it shall be learned."""
        self.wait_s = min(2 * self.wait_s, self._deadline_s)
