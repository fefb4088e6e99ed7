"""The settings of the processors."""

from typing import Annotated

from pydantic import AfterValidator, Field

from forebay.queues.settings import QueueSettings, from_here

from .retry import End


def _dedup_url(given: str | None) -> str | None:
    """Quotes nothing of it: it may hold a password."""
    if given and not given.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("must start with sqlite:/// or postgresql://")
    return from_here(given) if given else None


class WorkerSettings(QueueSettings):
    """How handlers are run, how often they are tried again, and how much is held in memory."""

    processes: Annotated[int, Field(description="worker processes of `forebay process`", ge=1, le=1024)] = 1
    drain_s: Annotated[float, Field(description="grace of running handlers at a stop", ge=0)] = 25.0
    metrics_bind: Annotated[str | None, Field(description="serve /metrics on an address of its own")] = None
    concurrency: Annotated[int, Field(description="portals handled at once in a process", ge=1, le=100_000)] = 256
    threads: Annotated[int, Field(description="threads of a process for handlers that are `def`", ge=1, le=1024)] = 16
    cpu_processes: Annotated[
        int | None,
        Field(description="processes for handlers with cpu=True; as many as cores when not set", ge=1, le=1024),
    ] = None
    dedup_url: Annotated[
        str | None,
        AfterValidator(_dedup_url),
        Field(
            description="where handlers with dedup remember; by default the queue's PostgreSQL, or a file in data_dir"
        ),
    ] = None
    deadline_s: Annotated[float, Field(description="of a handler that has none of its own", gt=0)] = 30.0
    tries: Annotated[int, Field(description="calls for an event before it is given up", ge=1)] = 30
    memory_tries: Annotated[int, Field(description="so many of them before its portal is parked", ge=1)] = 5
    retry_first_s: Annotated[float, Field(description="longest wait before the second try; then it doubles", ge=0)] = (
        0.5
    )
    retry_longest_s: Annotated[float, Field(description="where doubling ends", ge=0)] = 10.0
    retry_total_s: Annotated[float, Field(description="an event waits no longer in memory, all together", ge=0)] = 30.0
    retry_after_max_s: Annotated[float, Field(description="longest wait that Retry(after_s=…) gets", ge=0)] = 604_800.0
    park_first_s: Annotated[float, Field(description="longest wait of a parked portal; then it doubles", gt=0)] = 15.0
    park_longest_s: Annotated[float, Field(description="where that doubling ends", gt=0)] = 900.0
    give_up: Annotated[
        End, Field(description="an event whose tries are used up: dead (a dead letter), or hold (its portal waits)")
    ] = "dead"
    max_lane_records: Annotated[
        int, Field(description="more of one portal in memory, and it is parked unless it gets through them", ge=1)
    ] = 1000
    commit_interval_s: Annotated[float, Field(description="finished work is committed so often", gt=0)] = 1.0
    max_held_records: Annotated[int, Field(description="no fetching above this many records in memory", ge=1)] = 20_000
    max_held_bytes: Annotated[int, Field(description="no fetching above this many bytes in memory", ge=1)] = 128 << 20
