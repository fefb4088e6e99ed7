"""Calls of portals that install, and what came of them."""

import asyncio

from tests.bitrix24.oauth import FakeOAuth


async def asked(oauth: FakeOAuth, access: str) -> None:
    """Return when it was asked about that access token."""
    while access not in oauth.asked:
        await asyncio.sleep(0.001)
