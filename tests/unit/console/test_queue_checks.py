"""What `forebay doctor` says of a queue that can't be looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forebay.console.checks import queue
from forebay.console.checks.queue import queue_findings
from forebay.console.settings import load_settings
from forebay.queues.findings import Finding


async def found(queue_url: str) -> list[Finding]:
    settings = load_settings(options={"queue_url": queue_url}, environ={}).settings
    return [finding async for finding in queue_findings(settings, "all")]


@pytest.mark.parametrize("queue_url", ["redis://127.0.0.1:1", "memcached://127.0.0.1:1"])
async def test_what_refuses_says_once_what_to_do(queue_url: str) -> None:
    [finding] = await found(queue_url)

    assert (finding.check, finding.state) == ("queue", "fail")
    assert finding.text().count("queue_url") == 1


async def test_what_is_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def silent(_: object) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(queue, "opened", silent)
    monkeypatch.setattr(queue, "_QUEUE_S", 0.01)

    [finding] = await found("redis://127.0.0.1:1")

    assert "did not answer within 0.01 s  → see that it runs" in finding.text()
