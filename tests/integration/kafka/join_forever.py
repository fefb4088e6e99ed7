"""A member that commits, and stands there until it dies: `join_forever.py BOOTSTRAP STREAM PROTOCOL SESSION_S NAME`."""

import asyncio
import sys

import structlog

from forebay.queues.contract import Commit
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings


class Owner:
    """Doesn't care."""

    def assigned(self, partition: int, committed: Commit) -> None:
        """As in the contract."""

    async def revoked(self, partition: int) -> None:
        """As in the contract."""

    def lost(self, partition: int) -> None:
        """As in the contract."""

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""


async def main(bootstrap: str, stream: str, protocol: str, session_s: str, name: str) -> None:
    settings = QueueSettings(
        queue_url=f"kafka://{bootstrap}", kafka={"group.protocol": protocol}, group_instance_id=name
    )
    consumer = open_queue(settings).consumer(stream, stream, session_s=float(session_s))
    await consumer.start(Owner())
    [first, *_] = await consumer.fetch(1, 30)
    await consumer.commit({first.partition: Commit(offset=2, note=b"by the victim")})
    sys.stdout.write("committed\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    # The lines on standard output are ours alone.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
