"""What `forebay doctor` looks at where Bitrix24 is asked whose a token is."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from forebay.queues.findings import Finding

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.ingest.portals.verifier import Verdict

#: Nobody's, so that a server that answers at all says that it knows no such token.
_NO_TOKEN = "forebay-doctor"  # noqa: S105 - it is none


async def oauth_findings(settings: "Settings") -> AsyncIterator[Finding]:
    """Whether each of `oauth_urls` can be asked from here; nothing where no endpoint has `registry`."""
    if not any("registry" in endpoint.auth for endpoint in settings.served):
        return
    # Its HTTP client takes a while to load.
    from forebay.ingest.portals.verifier import AppInfo, Claim

    claim = Claim(application="", member_id="", access_token=_NO_TOKEN)
    verdicts = await asyncio.gather(*(AppInfo([url]).verdict(claim) for url in settings.oauth_urls))
    for url, verdict in zip(settings.oauth_urls, verdicts, strict=True):
        yield _found(url, verdict)


def _found(url: str, verdict: "Verdict") -> Finding:
    from forebay.ingest.portals.verifier import Unavailable

    if not isinstance(verdict, Unavailable):
        return Finding(check="oauth_urls", state="ok", detail=f"{url} answers")
    return Finding(
        check="oauth_urls",
        state="warn",
        detail=f"{url} can't be asked whose a token is: {verdict.reason}",
        remedy="let the ingest reach it: the portals that it knows stay without a proof, and handlers with "
        "verified=True wait a day for their events and then get none",
    )
