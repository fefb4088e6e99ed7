"""Portals that come by a new connection with each event."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.console.traffic.connection import Connection, target_of

_PORTALS = 24


class Newcomers:
    """Each sends one event after the other, every one over a connection of its own, as Bitrix24 does."""

    def __init__(self, url: str, token: str = "any") -> None:  # noqa: S107 - it is of no use
        self._target, self._token = target_of(url), token
        self.kept: dict[str, list[str]] = defaultdict(list)
        self.not_kept: list[object] = []
        self._any = asyncio.Condition()

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Meanwhile."""
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number in range(_PORTALS):
                tasks.create_task(self._send(f"p{number}.bitrix24.ru", enough))
            yield
            enough.set()

    async def _send(self, portal: str, enough: asyncio.Event) -> None:
        while not enough.is_set():
            way = Connection(self._target)
            fields = f"data[FIELDS][ID]={len(self.kept[portal])}&auth[domain]={portal}"
            answer = await way.post(f"event=ONCRMDEALADD&{fields}&auth[application_token]={self._token}".encode())
            way.close()
            if answer.status == 200:
                self.kept[portal].append(json.loads(answer.body)["id"])
            else:
                self.not_kept.append(answer)
            async with self._any:
                self._any.notify_all()

    async def answered(self, more: int) -> None:
        """Return when so many more calls were answered."""
        aim = self._count() + more
        async with self._any:
            await self._any.wait_for(lambda: self._count() >= aim)

    def _count(self) -> int:
        return len(self.not_kept) + sum(map(len, self.kept.values()))
