"""An ingest that learns tokens from calls, in this process, and the OAuth server that it asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from forebay.ingest.portals.desk import Desk
from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.members import Pin
from forebay.queues.portals.memory import FactLog
from forebay.schemas.codec import codec
from forebay.schemas.event import PortalEvent
from tests.bitrix24.oauth import FakeOAuth, Installed
from tests.unit.ingest.conftest import Running, running, until_read

APPLICATION = "app.5a1b2c3d4e5f60.12345678"
MEMBER = "c0ffee00c0ffee00c0ffee00c0ffee00"
DOMAIN = "first.bitrix24.com"
TOKEN = "51856fefc120afa4b628cc82d3935cce"
OTHER_TOKEN = "0000fefc120afa4b628cc82d3935ccef"
ACCESS = "an-access-token-of-the-portal"
KEY = "A" * 43 + "="


def body(
    event: str = "ONCRMDEALADD",
    *,
    token: str = TOKEN,
    access: str = "",
    domain: str = DOMAIN,
    member: str = MEMBER,
    number: int = 1,
) -> str:
    """A call of an application's subscription."""
    auth = {"domain": domain, "member_id": member, "application_token": token, "access_token": access}
    pairs = [f"auth[{name}]={value}" for name, value in auth.items() if value]
    return "&".join([f"event={event}", f"data[FIELDS][ID]={number}", "ts=1766047124", *pairs])


def install(**given: Any) -> str:
    return body("ONAPPINSTALL", **{"access": ACCESS, **given})


class Learning(Running):
    """An ingest whose endpoint learns tokens."""

    @property
    def desk(self) -> Desk:
        desk = self.health._others["portals"]
        assert isinstance(desk, Desk)
        return desk

    @property
    def facts(self) -> FactLog:
        return self.queue.fact_logs["bitrix24.events.portals"]

    def events(self) -> list[PortalEvent]:
        """What stands in the queue, in the order of its partition."""
        return [codec().decode(record.value) for record in self.records()]

    def pin(self, token: str = TOKEN, member: str = MEMBER) -> Pin | None:
        return self.desk.registry.find(APPLICATION, member, token)

    async def proved(self, token: str = TOKEN, member: str = MEMBER) -> Pin:
        """The pin, once it is proved."""
        while not (pin := self.pin(token, member)) or not pin.proof:
            await asyncio.sleep(0.001)
        return pin

    async def refresh(self) -> None:
        """Know all that stands in the log."""
        await self.desk.registry.following.refresh(10)


@pytest.fixture
def oauth() -> Iterator[FakeOAuth]:
    with FakeOAuth() as oauth:
        oauth.knows[ACCESS] = Installed(client_id=APPLICATION, member_id=MEMBER, domain=DOMAIN)
        yield oauth


@asynccontextmanager
async def starting(oauth: FakeOAuth, queue: MemoryQueue | None = None, **settings: Any) -> AsyncIterator[Learning]:
    """As its first call finds it, whether it has read the portals or not."""
    ours = {"auth": "registry", "tokens": {}, "client_id": APPLICATION, "seal_keys": {"2026": KEY}}
    async with running(queue, **{**ours, "oauth_urls": [oauth.url], **settings}) as found:
        yield Learning(queue=found.queue, conductor=found.conductor, health=found.health, metrics=found.metrics)


@asynccontextmanager
async def learning(oauth: FakeOAuth, queue: MemoryQueue | None = None, **settings: Any) -> AsyncIterator[Learning]:
    async with starting(oauth, queue, **settings) as made:
        await until_read(made.facts, lambda: made.desk.registry.is_current or made.facts.down)
        yield made
