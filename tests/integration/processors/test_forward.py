"""Events go on to an HTTP handler of somebody else's, as Bitrix24 would have called it; and what it answers counts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay import Handlers, PortalEvent
from forebay.ingest.seal import Sealer
from forebay.processors.forward import Forward, NotTaken
from forebay.processors.outcome import DONE, Failed, Outcome, Rejected, RetryAsked
from forebay.processors.testing import event, event_of, run
from tests.ports import free_ports
from tests.serving import serving

KEYS = {"k1": b"B" * 32}
AT_ONCE = 20


def pairs_of(body: bytes) -> list[tuple[bytes, bytes]]:
    # Of bytes Python's own makes text, which not every value is.
    found = parse_qsl(body.decode(), keep_blank_values=True, encoding="latin1")
    return [(name.encode("latin1"), value.encode("latin1")) for name, value in found]


@dataclass
class Called:
    """An HTTP handler: what it was sent, and how it answers."""

    status: int = 200
    headers: tuple[str, ...] = ()
    port: int = 0
    connections: int = 0
    lines: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """The last body, decoded."""
        return pairs_of(self.bodies[-1])

    def header(self, name: str) -> str:
        """Of the last call."""
        found = dict(line.split(": ", 1) for line in self.lines[-1].split("\r\n")[1:] if line)
        return {key.lower(): value for key, value in found.items()}[name]

    def path(self) -> str:
        """Of the last call."""
        return self.lines[-1].split(" ")[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError):
            await self._answer_all(reader, writer)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.lines.append(head)
            self.bodies.append(await reader.readexactly(int(self.header("content-length"))))
            told = "".join(f"{line}\r\n" for line in self.headers)
            writer.write(f"HTTP/1.1 {self.status} Any\r\n{told}Content-Length: 2\r\n\r\nok".encode())
            await writer.drain()


@asynccontextmanager
async def called(**how: object) -> AsyncIterator[Called]:
    handler = Called(**how)  # type: ignore[arg-type]
    async with serving(handler.serve) as handler.port:
        yield handler


async def forwarded(to: Called, one: PortalEvent, path: str = "/crm.php", **options: object) -> Outcome:
    handlers = Handlers()
    handlers.on("*")(Forward(f"http://127.0.0.1:{to.port}{path}", **options))  # type: ignore[arg-type]
    return await run(handlers, one)


def sealed(one: PortalEvent, **secrets: str) -> PortalEvent:
    return replace(one, sealed=Sealer(KEYS).seal([(f"auth[{name}]", value) for name, value in secrets.items()], one.id))


async def test_an_event_goes_on_as_it_was_sent_and_is_handled_when_that_is_answered() -> None:
    body = "event=ONCRMDEALADD&data%5BFIELDS%5D%5BID%5D=7&a=1&a=%FF+2&ts=1772366400&auth%5Bdomain%5D=shop.bitrix24.com"
    one = event_of(body)
    async with called() as to:
        outcome = await forwarded(to, one)

    assert outcome is DONE
    assert to.lines[0].startswith("POST /crm.php HTTP/1.1\r\n")
    assert to.pairs == pairs_of(body.encode())
    assert (to.header("content-type"), to.header("forebay-portal")) == (
        "application/x-www-form-urlencoded",
        "shop.bitrix24.com",
    )
    assert to.header("forebay-event-id") == one.id


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: "event" not in name)


@given(st.lists(st.tuples(NAMES, st.binary())))
def test_whatever_a_portal_sent_stands_in_the_body_again(pairs: list[tuple[str, bytes]]) -> None:
    one = event_of(urlencode([("event", "ONX"), *pairs]))

    assert tuple(pairs_of(Forward("http://any")._body(one))) == one.pairs


async def test_secrets_come_back_with_the_keys_and_the_application_token_is_the_given_one() -> None:
    one = sealed(event("ONCRMDEALADD"), access_token="secret-1", refresh_token="secret-2")
    async with called() as to:
        await forwarded(to, one)
        without = dict(to.pairs)
        await forwarded(to, one, seal_keys=KEYS, application_token="token-3")
        with_them = dict(to.pairs)

    assert with_them.items() - without.items() == {
        (b"auth[access_token]", b"secret-1"),
        (b"auth[refresh_token]", b"secret-2"),
        (b"auth[application_token]", b"token-3"),
    }


@pytest.mark.parametrize(
    ("url", "path", "query", "called_at"),
    [
        ("/crm.php", "", "", "/crm.php"),
        ("/crm.php?app=1", "", "deal=7&stage=%D0%90", "/crm.php?app=1&deal=7&stage=%D0%90"),
        ("/hooks/", "robots/send", "", "/hooks/robots/send"),
        ("", "", "a=b", "/?a=b"),
    ],
)
async def test_what_stood_behind_our_endpoint_stands_behind_the_url(
    url: str, path: str, query: str, called_at: str
) -> None:
    async with called() as to:
        await forwarded(to, replace(event("ONX"), path=path, query=query), url)

    assert to.path() == called_at


async def test_given_headers_and_the_trace_of_the_call_go_along() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with called() as to:
        await forwarded(to, replace(event("ONX"), traceparent=trace), headers={"Authorization": "Bearer x"})

    assert (to.header("authorization"), to.header("traceparent")) == ("Bearer x", trace)


async def test_calls_at_once_have_a_connection_each_and_those_behind_them_use_these() -> None:
    handlers = Handlers()
    async with called() as to:
        handlers.on("*")(Forward(f"http://127.0.0.1:{to.port}/"))
        outcomes = [await asyncio.gather(*(run(handlers, event("ONX")) for _ in range(AT_ONCE))) for _ in range(3)]

    assert outcomes == [[DONE] * AT_ONCE] * 3
    assert (len(to.bodies), to.connections) == (3 * AT_ONCE, AT_ONCE)


def in_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_what_was_taken_is_finished(status: int) -> None:
    async with called(status=status) as to:
        assert await forwarded(to, event("ONX")) is DONE


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 409, 500, 502, 504])
async def test_all_else_is_a_failure_which_is_tried_again(status: int) -> None:
    async with called(status=status, headers=("Location: http://127.0.0.1:1/",)) as to:
        outcome = await forwarded(to, event("ONX"))

    assert isinstance(outcome, Failed) and isinstance(outcome.error, NotTaken)
    assert str(outcome.error) == f"http://127.0.0.1:{to.port}/crm.php answered {status}"


async def test_what_will_never_be_taken_is_rejected() -> None:
    async with called(status=422) as to:
        outcome = await forwarded(to, event("ONX"))

    assert isinstance(outcome, Rejected)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("told", "is_pause"),
    [
        (lambda: "Retry-After: 7", lambda seconds: seconds == 7),
        (lambda: f"Retry-After: {in_a_minute()}", lambda seconds: 0 < seconds <= 60),
        (lambda: "Retry-After: Sat, 01 Jan 2000 00:00:00 -0000", lambda seconds: seconds == 0),
        (lambda: "Retry-After: soon", lambda seconds: seconds is None),
        (lambda: "Other: 7", lambda seconds: seconds is None),
    ],
)
async def test_a_handler_that_is_busy_gets_the_pause_that_it_asks_for(
    status: int, told: Callable[[], str], is_pause: Callable[[float | None], bool]
) -> None:
    async with called(status=status, headers=(told(),)) as to:
        outcome = await forwarded(to, event("ONX"))

    assert isinstance(outcome, RetryAsked) and is_pause(outcome.error.after_s)


async def test_a_handler_that_is_not_there_is_named_without_what_may_be_secret() -> None:
    [port] = free_ports(1)
    handlers = Handlers()
    handlers.on("*")(Forward(f"http://user:secret@127.0.0.1:{port}/crm.php?key=secret"))

    outcome = await run(handlers, event("ONX"))
    [registered] = handlers

    assert isinstance(outcome, Failed)
    assert str(outcome.error).startswith(f"http://127.0.0.1:{port}/crm.php gives no answer: ConnectError")
    assert registered.name == f"forebay.processors.forward:Forward(http://127.0.0.1:{port}/crm.php)"
    assert "secret" not in registered.name + str(outcome.error)


@pytest.mark.parametrize("url", ["crm.php", "ftp://host/", "http://", "/crm.php", "127.0.0.1:80/"])
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the URL to forward to begins with http:// or https://, and names a host$"):
        Forward(url)
