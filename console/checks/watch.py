"""Looks at the queue again and again, as `forebay doctor` does: what is changed there may lose events silently."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from forebay.queues.findings import Finding
from forebay.schemas.logger import get_logger

_log = get_logger(__name__)

#: Whoever has to mend it needs longer, and each look costs the queue some connections.
_EVERY_S = 600.0


async def watch_queue(
    look: Callable[[], AsyncIterator[Finding]],
    looked: Callable[[list[Finding]], None],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Hand over what each look finds, until cancelled. What must be mended is also logged, once while it lasts."""
    told: set[tuple[str, str]] = set()
    while True:
        try:
            found = [finding async for finding in look()]
        except Exception:
            # The canary's events tell more than this, and go on.
            _log.exception("the queue could not be looked at")
        else:
            looked(found)
            told = _tell([finding for finding in found if finding.state == "fail"], told)
        await sleep(_EVERY_S)


def _tell(failed: list[Finding], told: set[tuple[str, str]]) -> set[tuple[str, str]]:
    for finding in failed:
        if (finding.check, finding.detail) not in told:
            _log.error(
                "the queue is not as it must be", check=finding.check, detail=finding.detail, remedy=finding.remedy
            )
    return {(finding.check, finding.detail) for finding in failed}
