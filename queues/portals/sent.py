"""Tokens that were just noted and may not stand in the book yet: a burst of calls has the same bound as others."""

import time
from collections import Counter

#: By then what was written was read, or will be when the store is back.
_READ_S = 10.0


class Sent:
    """What was noted within the last seconds, by its hash."""

    def __init__(self) -> None:
        #: In the order of time.
        self._sent: dict[bytes, tuple[str, float]] = {}
        self._of: Counter[str] = Counter()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._sent

    def __len__(self) -> int:
        return len(self._sent)

    def of(self, member_id: str) -> int:
        """How many of one portal."""
        return self._of[member_id]

    def add(self, member_id: str, digest: bytes) -> None:
        """Remember one for a while."""
        self._sent[digest] = member_id, time.monotonic() + _READ_S
        self._of[member_id] += 1

    def forget_old(self) -> None:
        """Let go of those that were read by now."""
        now = time.monotonic()
        while self._sent:
            digest, (member_id, until) = next(iter(self._sent.items()))
            if until > now:
                return
            del self._sent[digest]
            self._of[member_id] -= 1
            if not self._of[member_id]:
                del self._of[member_id]
