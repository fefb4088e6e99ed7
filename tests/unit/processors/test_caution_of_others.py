"""A worker that lives on learns of others of its host that were ended."""

import asyncio
from itertools import repeat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.processors.crashes.caution import Caution
from forebay.processors.crashes.life import Ended, Life
from tests.waiting import until


async def test_it_goes_on_looking_where_it_can_not_see_them_and_tells_that_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.processors.crashes.caution._LOOK_EVERY_S", 0.001)
    life, broken = Life(tmp_path), OSError("the disk is broken")
    caution = Caution(life)
    answers: list[list[Ended] | OSError] = [broken, broken, [], broken]
    looks = iter([*answers, *repeat([Ended("one", 1.0, [])], 1000)])

    def ended() -> list[Ended]:
        if isinstance(answer := next(looks), OSError):
            raise answer
        return answer

    monkeypatch.setattr(life, "ended", ended)
    with capture_logs() as logs:
        running = asyncio.create_task(caution.run())
        await until(lambda: caution.is_needed)
        running.cancel()
    caution.close(asked=False)

    assert ["can't be seen" in one["event"] for one in logs] == [True, True, False]
    assert logs[-1]["workers"] == 1
