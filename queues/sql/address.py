"""From the setting `queue_url` to SQLite's file."""

from pathlib import Path

from forebay.queues.errors import QueueError

_SHAPE = "queue_url: it names no file; write sqlite:///<path> (sqlite:////<path> from the root), or memory:// for tests"


def path_of(url: str) -> Path:
    """What stands behind the third slash, as it is. Raises `QueueError`.

    With two slashes the path would begin with the name of a host, and the events stand where nobody looks for them.
    """
    _, _, path = url.partition(":///")
    if not path or path == ":memory:" or "?" in path:
        raise QueueError(_SHAPE)
    return Path(path)
