"""How long a queue may be silent: by its own pace, as TCP decides that a segment is lost (RFC 6298)."""

#: Less is no sign of anything: brokers collect garbage, elect leaders, and share their disks.
_LEAST_S = 0.2

#: The weights of a new time in their mean and in their mean deviation, and how many deviations a time may be late.
_OF_MEAN, _OF_DEVIATION, _DEVIATIONS = 1 / 8, 1 / 4, 4


class Patience:
    """Learns how long the queue takes to acknowledge, and from that how long its silence means nothing."""

    def __init__(self, deadline_s: float, least_s: float = _LEAST_S) -> None:
        self.deadline_s, self._least_s = deadline_s, least_s
        self._mean = self._deviation = 0.0
        #: While records are due and nothing was heard for so long, the queue hangs. Never above the deadline.
        self.silence_s = deadline_s

    def learn(self, took_s: float) -> None:
        """A record was acknowledged after so long."""
        if self._mean:
            self._deviation += _OF_DEVIATION * (abs(took_s - self._mean) - self._deviation)
            self._mean += _OF_MEAN * (took_s - self._mean)
        else:
            self._mean, self._deviation = took_s, took_s / 2
        usual_s = self._mean + _DEVIATIONS * self._deviation
        self.silence_s = min(max(usual_s, self._least_s), self.deadline_s)
