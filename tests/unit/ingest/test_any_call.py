"""Whatever a portal of ours sends is kept, all of it, and can be read again."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.schemas.codec import codec
from forebay.schemas.form import pairs_of
from forebay.schemas.secrecy import Secrecy, secrecy_of

from .conftest import TOKEN, running

PROOF = f"&auth[domain]=a.ru&auth[application_token]={TOKEN}".encode()

NAMES = (b"event", b"data", b"ts", b"code", b"document_id[2]", b"access_token", b"event_token", b"x" * 300)
SIGNS = (b"=", b"&", b"[", b"]", b"%5B", b"%5D", b"%", b"%C3", b"%00", b"%0A", b"+", b".", b"-1", b"\xff", "д".encode())
pieces = st.sampled_from((*NAMES, *SIGNS))
bodies = st.lists(pieces, max_size=25).map(b"".join) | st.binary(max_size=50)
queries = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=30)


@settings(max_examples=150)
@given(bodies, queries)
def test_nothing_of_an_authentic_call_is_lost(body: bytes, query: str) -> None:
    asyncio.run(_nothing_is_lost(body + PROOF, query))


async def _nothing_is_lost(body: bytes, query: str) -> None:
    async with running(max_depth=100) as ingest:
        answer = await ingest.post(body, f"/bitrix24/?{query}")

        assert answer.json["status"] == "accepted"
        event = ingest.event()
    open_pairs = [pair for pair in pairs_of(body) if secrecy_of(pair[0].decode(errors="replace")) is Secrecy.OPEN]
    assert list(event.pairs) == open_pairs
    assert codec().encode(event) and event.data is not None and event.auth is not None
