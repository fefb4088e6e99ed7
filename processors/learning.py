"""Schema ids that records have and the codec does not know: asks the registry while the records wait."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from forebay.queues.registry.errors import RegistryError, RegistryRefused
from forebay.queues.registry.teacher import MissingSchema, Teacher
from forebay.schemas.errors import UndecodableEvent, UnknownSchemaId
from forebay.schemas.logger import get_logger

from .health import Health
from .outcome import Undecodable, Unlearned
from .retry import Draw

_log = get_logger(__name__)

#: The part of the worker's health.
_PART = "schema_registry"

#: A record waits as long again as its id has been unknown by then, between these: an answer takes some milliseconds.
_SOONEST_S = 0.02
_LATEST_S = 5.0

#: Between two questions that were not answered; it doubles from the first to the longest.
_FIRST_S = 0.25
_LONGEST_S = 10.0

#: A registry of several nodes may not know an id everywhere at once; "there is none" is believed after so long.
_PATIENCE_S = 3.0

#: Ids that are not ours are remembered up to a number of them, and for some time: a registry may get them yet.
_REMEMBERED = 1000
_REMEMBERED_S = 60.0


class Learning:
    """Puts one question at a time, and each id's once, however many portals wait for it. Used on one event loop."""

    def __init__(
        self,
        teacher: Teacher,
        health: Health,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Draw = random.uniform,
    ) -> None:
        self._teacher, self._health = teacher, health
        self._clock, self._sleep, self._draw = clock, sleep, draw
        #: Id → since when records wait for it.
        self._wanted: dict[int, float] = {}
        #: Id → why its records can't be read, and until when that is believed.
        self._refused: dict[int, tuple[UndecodableEvent, float]] = {}
        self._has_wanted = asyncio.Event()
        self._knows_own = False

    def outcome(self, error: UnknownSchemaId) -> Unlearned | Undecodable:
        """What becomes of a record with that id: it waits until the registry has answered, or is given up."""
        now, schema_id = self._clock(), error.schema_id
        refused, until = self._refused.get(schema_id, (None, now))
        if refused is not None and now < until:
            return Undecodable(error=refused)
        since = self._wanted.setdefault(schema_id, now)
        self._has_wanted.set()
        longest_s = min(max(now - since, _SOONEST_S), _LATEST_S)
        return Unlearned(wait_s=self._draw(longest_s / 2, longest_s))

    async def run(self) -> None:
        """Learn what is wanted, and our own schemas' ids before anybody wants them. Never ends by itself."""
        longest_s = _FIRST_S
        while True:
            try:
                await self._learn_wanted()
                await self._learn_own()
            except RegistryError as error:
                self._health.degraded(_PART, str(error))
                _log.warning("schema ids can't be asked for; trying again", ids=[*self._wanted], error=str(error))
                await self._sleep(self._draw(longest_s / 2, longest_s))
                longest_s = min(longest_s * 2, _LONGEST_S)
            else:
                longest_s = _FIRST_S
                self._health.ok(_PART)
                await self._until_wanted()

    async def _until_wanted(self) -> None:
        if self._wanted:
            # Those that the registry may not know everywhere yet.
            await self._sleep(_FIRST_S)
        else:
            self._has_wanted.clear()
            await self._has_wanted.wait()

    async def _learn_own(self) -> None:
        if not self._knows_own:
            await self._teacher.teach_own()
            self._knows_own = True

    async def _learn_wanted(self) -> None:
        refused: RegistryRefused | None = None
        for schema_id in list(self._wanted):
            try:
                await self._learn(schema_id)
            except RegistryRefused as error:
                # Of this id; of others it may tell.
                refused = error
        if refused is not None:
            raise refused

    async def _learn(self, schema_id: int) -> None:
        try:
            await self._teacher.teach(schema_id)
        except MissingSchema as error:
            if self._clock() - self._wanted[schema_id] < _PATIENCE_S:
                return
            self._refuse(schema_id, error)
        except UndecodableEvent as error:
            self._refuse(schema_id, error)
        del self._wanted[schema_id]

    def _refuse(self, schema_id: int, error: UndecodableEvent) -> None:
        if len(self._refused) >= _REMEMBERED:
            self._refused.clear()
        self._refused[schema_id] = error, self._clock() + _REMEMBERED_S
