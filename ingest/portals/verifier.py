"""Asks Bitrix24 whose an access token is. The address is the operator's: never one that came with a call.

Source: bitrix24/b24pysdk, the request `app.info` of an OAuth server: GET with `auth`, the answer's `result` has
`client_id` and `install` with `member_id` and `domain`.
"""

import asyncio
import http.client
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlencode, urlsplit

import orjson

from forebay.queues.threads.daemons import Threads
from forebay.schemas.portal import BadPortal, normal_form

#: An OAuth server that needs longer is asked again later.
_ANSWER_S = 10.0

#: Its answers are under 2 KB.
_ANSWER_BYTES = 65_536

#: So many are asked at once. Who waits for the resolver waits on when nobody wants the answer any more.
_QUESTIONS = 32

#: What it says of a token that is none any more, or never was one.
_NO_TOKEN = frozenset({"expired_token", "invalid_token", "NO_AUTH_FOUND", "invalid_grant"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who a call says that it comes from, and the access token that came with it."""

    application: str
    member_id: str
    #: It stands in no log, also where a claim is printed.
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The access token is that of this application on this portal, which has this domain."""

    domain: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The access token is another application's or another portal's: whoever sent it has lied."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The access token tells nothing (any more): the next call may bring another."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """No answer: to be asked again."""

    reason: str


Verdict: TypeAlias = Confirmed | Denied | Unknown | Unavailable


class Verifier(Protocol):
    """Finds out whether a claim is true. Never raises, and keeps the access token to itself."""

    async def verdict(self, claim: Claim) -> Verdict:
        """What is known of the claim. May take seconds; several calls may run at once."""


class AppInfo:
    """Asks the OAuth servers one after the other, in a thread, until one knows the token."""

    def __init__(self, urls: Sequence[str], *, answer_s: float = _ANSWER_S) -> None:
        self._urls, self._answer_s = urls, answer_s
        self._threads = Threads(_QUESTIONS, "forebay-oauth")

    async def verdict(self, claim: Claim) -> Verdict:
        """As in the protocol."""
        verdicts: list[Verdict] = []
        for url in self._urls:
            verdict = await self._asked(url, claim)
            if isinstance(verdict, Confirmed | Denied):
                return verdict
            verdicts.append(verdict)
        # One that did not answer may be the one that knows.
        return next((verdict for verdict in verdicts if isinstance(verdict, Unavailable)), verdicts[0])

    async def _asked(self, url: str, claim: Claim) -> Verdict:
        question = _Question(url, self._answer_s)
        try:
            # The connection's own timeout would let an answer that comes byte by byte go on for ever.
            async with asyncio.timeout(self._answer_s):
                status, answer = await asyncio.get_running_loop().run_in_executor(
                    self._threads, question.answer, claim.access_token
                )
        except (OSError, http.client.HTTPException) as error:
            return Unavailable(reason=f"{url} does not answer: {type(error).__name__}")
        finally:
            question.cut()
        return _judged(status, answer, claim)


class _Question:
    """One request. It is put in a thread, which is let go when nobody waits for the answer any more."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = urlsplit(url), timeout_s
        self._socket: socket.socket | None = None
        self._is_cut = False

    def answer(self, access_token: str) -> tuple[int, bytes]:
        """Status and body. Blocks."""
        asked = self._connection()
        try:
            asked.connect()
            self._socket = asked.sock
            # In this order: one of the two threads sees what the other has written.
            if self._is_cut:
                raise ConnectionAbortedError
            # No redirect is followed: it would take the token to an address that nobody has pinned.
            asked.request("GET", f"{self._url.path.rstrip('/')}/app.info/?{urlencode({'auth': access_token})}")
            # Of HTTP/1.0 the answer has the connection, which `asked` does not close then.
            with asked.getresponse() as got:
                return got.status, got.read(_ANSWER_BYTES)
        finally:
            asked.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def cut(self) -> None:
        """End it, whatever has come. For any thread."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _judged(status: int, answer: bytes, claim: Claim) -> Verdict:
    try:
        said = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return Unavailable(reason=f"the OAuth server answered {status} without JSON")
    error = said.get("error") if isinstance(said, dict) else None
    if isinstance(error, str) and error in _NO_TOKEN:
        return Unknown(reason=f"the OAuth server says {error}")
    if status != http.client.OK or not isinstance(said, dict) or not isinstance(said.get("result"), dict):
        return Unavailable(reason=f"the OAuth server answered {status}")
    return _compared(said["result"], claim)


def _compared(result: dict[str, Any], claim: Claim) -> Verdict:
    install = result.get("install")
    install = install if isinstance(install, dict) else {}
    application, member_id = result.get("client_id"), install.get("member_id")
    if not application or (application == claim.application and not member_id):
        # A portal's own REST answers so, too. Who is denied is refused, and nothing was said of him.
        return Unavailable(reason="what answers names no application and portal; is it an OAuth server (oauth_urls)?")
    if application != claim.application:
        return Denied(reason="the access token is another application's")
    if member_id != claim.member_id:
        return Denied(reason="the access token is another portal's")
    try:
        return Confirmed(domain=normal_form(str(install.get("domain", ""))))
    except BadPortal:
        return Unavailable(reason="the OAuth server names no domain of the portal")
