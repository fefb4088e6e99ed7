"""Reading a body in time, from a server that forgets a cancellation when a piece comes at the same moment."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from forebay.ingest.body import BodyLimits, drain, read
from forebay.ingest.errors import BodyTooSlow
from forebay.ingest.request import PIECES, PortalRequest

LIMITS = BodyLimits(max_bytes=1000, timeout_s=0.01)

#: Nobody reads for so long; a reader that never ends would go on to the size that is allowed.
MOST = 20


@dataclass
class Dribbling:
    """A body whose bytes come whenever the reading is cancelled, for ever."""

    sent: dict[bytes, bytes] = field(default_factory=dict)
    scope: dict[str, Any] = field(default_factory=dict)
    is_whole: bool = False
    given: int = 0

    async def events(self) -> dict[str, Any]:
        self.given += 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600 if self.given == 1 else 0)
        return {"type": "http.request", "body": b"a", "more_body": self.given < MOST}


async def test_a_body_that_comes_byte_by_byte_is_too_slow_even_when_a_byte_comes_at_the_deadline() -> None:
    body = Dribbling()

    with pytest.raises(BodyTooSlow, match=r"0\.01 s"):
        await read(cast(PortalRequest, body), LIMITS)

    assert body.given == 1


async def test_what_is_left_of_a_refused_body_is_let_by_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.ingest.body._LINGER_S", 0.01)
    body = Dribbling()

    await drain(body.events)

    assert body.given == 1


async def test_a_body_that_has_to_make_room_is_too_slow() -> None:
    body = Dribbling(given=1)
    reading = asyncio.ensure_future(read(cast(PortalRequest, body), BodyLimits(max_bytes=1000, timeout_s=60)))
    while body.given < MOST // 2:
        await asyncio.sleep(0)

    held = body.scope.pop(PIECES)

    with pytest.raises(BodyTooSlow, match="longest"):
        await reading
    assert set(held) == {b"a"}
