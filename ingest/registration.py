"""The ingest's schema in the schema registry: until it is there events are written without its id."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

from forebay.queues.registry.contract import Registry
from forebay.queues.registry.errors import RegistryError, RegistryRefused
from forebay.queues.registry.teacher import Teacher
from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: Between two attempts; it doubles from the first to the longest.
_FIRST_S = 0.5
_LONGEST_S = 60.0

#: An ingest that starts waits so long for the id, so that its first events have it; longer for no registry.
_PATIENCE_S = 1.0


class Registration:
    """Registers the newest schema in the background, for as long as it takes. Used on one event loop."""

    def __init__(
        self,
        registry: Registry,
        teacher: Teacher,
        *,
        draw: Callable[[float, float], float] = random.uniform,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._registry, self._teacher, self._draw, self._patience_s = registry, teacher, draw, patience_s
        self._has_tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        #: `ok`, or why events are still written in the single-object encoding.
        self.state = "the schema is not registered yet"

    async def open(self) -> None:
        """Begin, and wait a moment for the first answer, whatever it is."""
        self._task = asyncio.create_task(self._register())
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._has_tried.wait()

    async def _register(self) -> None:
        longest_s = _FIRST_S
        while not await self._is_registered():
            await asyncio.sleep(self._draw(longest_s / 2, longest_s))
            longest_s = min(longest_s * 2, _LONGEST_S)

    async def _is_registered(self) -> bool:
        try:
            schema_id = await self._teacher.register()
        except RegistryError as error:
            self.state = str(error)
            tell = log.error if isinstance(error, RegistryRefused) else log.warning
            tell("schema not registered; events are written without its id meanwhile", error=self.state)
            return False
        finally:
            self._has_tried.set()
        self.state = "ok"
        log.info("the schema is registered; events are written with its id", schema_id=schema_id)
        return True

    async def close(self) -> None:
        """Try no more, and let go of the registry. Idempotent."""
        if self._task:
            self._task.cancel()
        await self._registry.close()
