"""An HTTP handler of somebody else behind Forebay: whatever it says, events come to it in their portals' order."""

import asyncio
from collections import Counter, defaultdict
from urllib.parse import parse_qsl

from tests.e2e.newcomers import Newcomers
from tests.e2e.site import Site
from tests.serving import serving

HANDLERS = """
import os

from forebay import Handlers
from forebay.processors.forward import Forward

handlers = Handlers()
handlers.on("*")(Forward(f"http://127.0.0.1:{os.environ['ELSEWHERE']}/bitrix.php"))
"""

#: How the first calls of a portal are answered, by its number; others are taken at once.
TROUBLES = {0: ["500 Any", "404 Any"], 1: ["503 Any\r\nRetry-After: 0"] * 3, 2: ["302 Any\r\nLocation: /"]}


class Elsewhere:
    """Takes events, and notes of each portal the ids of those that it has said to have taken."""

    def __init__(self) -> None:
        self.taken: dict[str, list[str]] = defaultdict(list)
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            sent = dict(parse_qsl((await reader.readexactly(int(head["content-length"]))).decode()))
            portal = head["forebay-portal"]
            assert sent["auth[domain]"] == portal and sent["event"] == "ONCRMDEALADD"
            self.calls[portal] += 1
            # "p1.bitrix24.ru"
            answers = TROUBLES.get(int(portal.partition(".")[0][1:]), [])
            if self.calls[portal] > len(answers):
                self.taken[portal].append(head["forebay-event-id"])
                answer = "200 Any"
            else:
                answer = answers[self.calls[portal] - 1]
            writer.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()

    async def _head(self, reader: asyncio.StreamReader) -> dict[str, str]:
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()[1:-1]
        except asyncio.IncompleteReadError:
            return {}
        return dict(line.split(": ", 1) for line in lines)


async def test_an_http_handler_gets_each_portals_events_in_their_order(site: Site) -> None:
    elsewhere = Elsewhere()
    async with serving(elsewhere.serve) as port:
        (site.folder / "shop.py").write_text(HANDLERS)
        site.variables["ELSEWHERE"] = str(port)
        site.settings |= {"auth": "none", "retry_first_s": "0.01"}
        site.start("up", "up", "shop:handlers")
        await asyncio.to_thread(site.wait, "the ingest", site.is_ready)
        portals = Newcomers(site.url)
        async with portals.sending():
            await portals.answered(300)
        await asyncio.to_thread(site.wait, "all of them", lambda: elsewhere.taken == portals.kept)
        assert await asyncio.to_thread(site.stop, "up") == 0

    assert portals.not_kept == []
    troubled = {f"p{number}.bitrix24.ru": len(answers) for number, answers in TROUBLES.items()}
    for portal, kept in portals.kept.items():
        assert elsewhere.calls[portal] == len(kept) + troubled.get(portal, 0)
