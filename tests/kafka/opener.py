"""Opens Kafka queues for a test, and closes them after it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from forebay.queues.contract import Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings

#: Takes a bootstrap address and settings.
Opener = Callable[..., Queue]


@asynccontextmanager
async def opening(folder: Path) -> AsyncIterator[Opener]:
    """An opener; at the end every queue that it opened is closed."""
    queues: list[Queue] = []

    def opened(bootstrap: str, **given: object) -> Queue:
        settings = {"data_dir": folder, "queue_url": f"kafka://{bootstrap}", **given}
        queues.append(open_queue(QueueSettings.model_validate(settings)))
        return queues[-1]

    yield opened
    for queue in queues:
        await queue.close()
