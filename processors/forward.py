"""Gives events to an HTTP handler that is there already, in whatever language, as Bitrix24 gives them to it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import httpx2

from forebay.schemas.errors import ForebayError
from forebay.schemas.event import PortalEvent

from .errors import Reject, Retry

#: A handler answers when it is done, for which its event has `deadline_s`; to reach it takes no longer than this.
_CONNECT_S = 5.0

#: A connection that is idle for longer is let go: Apache and Node hang up after five seconds, gunicorn after two, and a
#: call that is sent just then would fail.
_KEPT_S = 1.0

_FORM = "application/x-www-form-urlencoded"

#: Who answers so asks for a pause, and may say for how long.
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

#: So an HTTP handler says what `Reject` does: it has read the event, and will never take it.
_REJECTED = HTTPStatus.UNPROCESSABLE_ENTITY


class NotTaken(ForebayError):
    """The HTTP handler was not reached, or did not say that it has handled the event."""


class Forward:
    """A handler for `Handlers.on`: posts each event to a URL, in the form and with the fields of Bitrix24's own call.

    What it answers is what becomes of the event: 2xx, it is handled; 422, `Reject`; 429 and 503, `Retry`, after
    `Retry-After` if that is told; all else, and no answer, is a failure that is tried again. The event's id stands in
    `Forebay-Event-Id`, and is the same at each try. docs/forward.md has all of it.

    With `seal_keys` (as in the setting) the call has the event's secrets again. The `application_token` is kept
    nowhere: a handler that looks at it is given this one. `headers` go along with each call. Raises `ValueError` unless
    `url` is one of HTTP. Takes no batches.
    """

    def __init__(
        self,
        url: str,
        *,
        seal_keys: Mapping[str, str | bytes] | None = None,
        application_token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = urlsplit(url)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError("the URL to forward to begins with http:// or https://, and names a host")
        self._seal_keys, self._token, self._headers = seal_keys, application_token, dict(headers or {})
        #: The address as it may be told: what stands before and behind it may be secret.
        self._shown = f"{self._url.scheme}://{self._url.netloc.rpartition('@')[2]}{self._url.path}"
        #: The handler's name, by which logs and metrics tell it from others.
        self.__qualname__ = f"Forward({self._shown})"
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGenerator[httpx2.AsyncClient, None]] = (
            WeakKeyDictionary()
        )

    async def __call__(self, event: PortalEvent) -> None:
        """One try."""
        try:
            client = await anext(self._of_this_loop())
            answer = await client.post(self._address(event), content=self._body(event), headers=_about(event))
        except httpx2.HTTPError as error:
            raise NotTaken(f"{self._shown} gives no answer: {type(error).__name__} {error}") from error
        said = f"{self._shown} answered {answer.status_code}"
        if answer.status_code == _REJECTED:
            raise Reject(said)
        if answer.status_code in _BUSY:
            raise Retry(said, after_s=_pause_s(answer.headers.get("retry-after", "")))
        if not answer.is_success:
            raise NotTaken(said)

    def _of_this_loop(self) -> AsyncGenerator[httpx2.AsyncClient, None]:
        """Gives the client whose connections belong to this event loop."""
        loop = asyncio.get_running_loop()
        return self._clients.get(loop) or self._clients.setdefault(loop, self._opened())

    async def _opened(self) -> AsyncGenerator[httpx2.AsyncClient, None]:
        # At its end an event loop ends the generators that were begun on it, and nobody else hears of that.
        async with httpx2.AsyncClient(
            headers={"content-type": _FORM, "user-agent": "Forebay", **self._headers},
            # Every portal may have a call under way; how many that are is the worker's `concurrency`.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEPT_S),
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),
        ) as client:
            while True:
                yield client

    def _address(self, event: PortalEvent) -> str:
        """What stood behind our endpoint stands behind the URL."""
        path = f"{self._url.path.rstrip('/')}/{event.path}" if event.path else self._url.path
        query = "&".join(filter(None, (self._url.query, event.query)))
        return urlunsplit(self._url._replace(path=path, query=query))

    def _body(self, event: PortalEvent) -> bytes:
        secrets = event.secrets(self._seal_keys) if self._seal_keys else {}
        if self._token is not None:
            secrets["auth[application_token]"] = self._token
        added = ((path.encode(), value.encode()) for path, value in secrets.items())
        return urlencode([*event.pairs, *added]).encode()


def _about(event: PortalEvent) -> dict[str, str]:
    told = {"forebay-event-id": event.id, "forebay-portal": event.portal}
    return told if event.traceparent is None else {**told, "traceparent": event.traceparent}


def _pause_s(told: str) -> float | None:
    """The seconds of a `Retry-After` (RFC 9110, section 10.2.3); None where it says none."""
    if told.isdecimal():
        return float(told)
    try:
        until = parsedate_to_datetime(told)
    except ValueError:
        return None
    # Of no zone is what says -0000: it is UTC all the same.
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
