"""A worker and its queue on SQLite, beside the commands that operators call."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from forebay.console.cli import build
from forebay.console.settings import Settings
from forebay.queues.opening import open_queue
from forebay.schemas import names

from .site import PARTITIONS, Program, Site


class Night:
    """The worker and the queue in a thread of their own; commands run where signals arrive."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder, queue_url=f"sqlite:///{folder}/queue.db", partitions=PARTITIONS)
        self.program = Program()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.site: Site = self.do(self._made())

    async def _made(self) -> Site:
        queue = open_queue(self.settings)
        await queue.ensure(names.streams(self.settings.topic), PARTITIONS)
        return Site(settings=self.settings, queue=queue, producer=queue.producer())

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def start(self, **settings: object) -> None:
        async def _start() -> None:
            self.site.start(self.program, **settings)

        self.do(_start())

    def close(self) -> None:
        async def _close() -> None:
            for worker in list(self.site.running):
                await self.site.stop(worker)
            await self.site.producer.close()
            await self.site.queue.close()

        self.do(_close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def command(self, *arguments: str, given: str | None = None) -> Result:
        folder, url = str(self.settings.data_dir), self.settings.queue_url
        done = CliRunner().invoke(build(), ["--data-dir", folder, "--queue-url", url, *arguments], input=given)
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    def rows(self, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
        done = self.command(*arguments, "--json")
        assert done.exit_code == status, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    def until_rows(self, wanted: Callable[[list[dict[str, Any]]], object], *arguments: str) -> list[dict[str, Any]]:
        """The rows of the command, once they are as wanted."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if wanted(found := self.rows(*arguments)):
                return found
        raise AssertionError(found)
