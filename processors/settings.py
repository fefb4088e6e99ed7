"""The settings of the processors."""

from typing import Annotated

from pydantic import Field

from forebay.queues.settings import QueueSettings


class WorkerSettings(QueueSettings):
    """How handlers are run, how often they are tried again, and how much is held in memory."""

    processes: Annotated[int, Field(description="worker processes of `forebay process`", ge=1, le=1024)] = 1
    drain_s: Annotated[float, Field(description="grace of running handlers at a stop", ge=0)] = 25.0
    metrics_bind: Annotated[str | None, Field(description="serve /metrics on an address of its own")] = None
    concurrency: Annotated[int, Field(description="portals handled at once in a process", ge=1, le=100_000)] = 256
    threads: Annotated[int, Field(description="threads of a process for handlers that are `def`", ge=1, le=1024)] = 16
    deadline_s: Annotated[float, Field(description="of a handler that has none of its own", gt=0)] = 30.0
    tries: Annotated[int, Field(description="calls for an event before it is a dead letter", ge=1)] = 5
    retry_first_s: Annotated[float, Field(description="longest wait before the second try; then it doubles", ge=0)] = (
        0.5
    )
    retry_longest_s: Annotated[float, Field(description="where doubling ends", ge=0)] = 10.0
    retry_total_s: Annotated[float, Field(description="an event waits no longer for retries, all together", ge=0)] = (
        30.0
    )
    retry_after_max_s: Annotated[float, Field(description="longest wait that Retry(after_s=…) gets", ge=0)] = 60.0
    commit_interval_s: Annotated[float, Field(description="finished work is committed so often", gt=0)] = 1.0
    max_held_records: Annotated[int, Field(description="no fetching above this many records in memory", ge=1)] = 20_000
    max_held_bytes: Annotated[int, Field(description="no fetching above this many bytes in memory", ge=1)] = 128 << 20
