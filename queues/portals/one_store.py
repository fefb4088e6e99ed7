"""Whether a reader of facts about portals still reads the store in which it has begun."""

from forebay.queues.errors import QueueUnavailable


class OneStore:
    """Of one reader, and used in its thread.

    Another connection may lead to another store, and a store may be set back: a copy that was behind has taken over, or
    a backup was restored. Then new facts have places that were read already.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._connection: object = None

    def check(self, connection: object, start: int) -> None:
        """Before it reads on: raise `QueueUnavailable` where this is not the connection of its last reading."""
        before, self._connection = self._connection, connection
        if start and before is not None and before is not connection:
            raise self._anew()

    def check_end(self, start: int, end: int) -> None:
        """When it has found nothing: raise `QueueUnavailable` where the store ends before the place."""
        if start > end:
            raise self._anew()

    def _anew(self) -> QueueUnavailable:
        return QueueUnavailable(f"{self._name} may be another one by now: what is known of portals is read anew")
