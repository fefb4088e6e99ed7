"""Reading a body: bounded in size and in time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from .errors import BodyTooLarge, BodyTooSlow, CallerLeft, EmptyBody, MediaNotRead
from .request import PIECES, Events, PortalRequest

_FORM = b"application/x-www-form-urlencoded"

#: No body's length has more. Python refuses to convert thousands of digits, and the answer would be the same.
_LENGTH_DIGITS = 18

#: Times to spare in a body's time.
_SPARES = 10

#: What is still taken of a refused body, so that its sender comes to read the answer. A connection closed with
#: unread bytes is reset, and with it the answer is lost (RFC 9112, section 9.6).
_LINGER_BYTES = 4 << 20
_LINGER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How much of a body is read, and for how long."""

    max_bytes: int
    timeout_s: float

    @property
    def to_spare_s(self) -> float:
        """So long the rest is read when the time is over: while this process stood still, all of it may have come."""
        return self.timeout_s / _SPARES


def read(request: PortalRequest, limits: BodyLimits) -> Awaitable[bytes]:
    """The whole body, never empty, to be awaited. Never holds more of it than the limit and one piece; what is refused
    by its headers isn't read.

    Raises `MediaNotRead`, `BodyTooLarge`, `BodyTooSlow`, `CallerLeft`, `EmptyBody`.
    """
    check_media(request)
    _check_declared(request, limits)
    # What is here already needs no timer, and that is nearly every body: a timer takes as long as reading it.
    return _pieces(request, limits) if request.is_whole else _pieces_in_time(request, limits)


def check_media(request: PortalRequest) -> None:
    """Raise `MediaNotRead` where the headers say that the body is no plain form."""
    sent = request.sent
    if b"content-encoding" in sent and sent[b"content-encoding"].strip().lower() not in (b"", b"identity"):
        raise MediaNotRead("compressed bodies are not read; send the form without a Content-Encoding")
    if b"transfer-encoding" in sent and sent[b"transfer-encoding"].strip().lower() != b"chunked":
        raise MediaNotRead("of the transfer codings only chunked is read")
    given = sent.get(b"content-type", _FORM)
    if given != _FORM and given.partition(b";")[0].strip().lower() not in (_FORM, b""):
        raise MediaNotRead("only application/x-www-form-urlencoded is read: it is what a portal sends for an event")


def _check_declared(request: PortalRequest, limits: BodyLimits) -> None:
    declared = request.sent.get(b"content-length", b"")
    if declared.isdigit() and (len(declared) > _LENGTH_DIGITS or int(declared) > limits.max_bytes):
        raise _too_large(limits)


async def _pieces_in_time(request: PortalRequest, limits: BodyLimits) -> bytes:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            over = loop.call_later(limits.timeout_s, lambda: limit.reschedule(loop.time() + limits.to_spare_s))
            try:
                return await _pieces(request, limits, limit.expired)
            finally:
                over.cancel()
    except TimeoutError as error:
        raise BodyTooSlow(f"the body was not complete after {limits.timeout_s:g} s") from error


async def _pieces(request: PortalRequest, limits: BodyLimits, is_late: Callable[[], bool] = lambda: False) -> bytes:
    pieces: list[bytes] = []
    request.scope[PIECES] = pieces
    left = limits.max_bytes
    while True:
        event = await request.events()
        if PIECES not in request.scope:
            raise BodyTooSlow("too much was coming at once, and this was the body that had been coming for longest")
        if event["type"] != "http.request":
            raise CallerLeft("the connection was closed before the body was whole")
        piece = event.get("body", b"")
        left -= len(piece)
        if left < 0:
            raise _too_large(limits)
        pieces.append(piece)
        if not event.get("more_body"):
            del request.scope[PIECES]
            if body := b"".join(pieces):
                return body
            raise EmptyBody("the body is empty; a portal sends a form with an event in it")
        # gunicorn waits by asyncio.wait_for, which on Python 3.11 forgets that it was cancelled when a piece comes at
        # that very moment: the timeout alone would then never end a body that comes byte by byte.
        if is_late():
            raise TimeoutError


def _too_large(limits: BodyLimits) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limits.max_bytes} bytes (setting max_body_bytes)")


async def drain(events: Events) -> None:
    """Let the rest of a refused body go by, for a short while, after its answer was sent."""
    left = _LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S) as limit:
            # Asked for the same reason as in `_pieces`.
            while left > 0 and not limit.expired():
                event = await events()
                if event["type"] != "http.request" or not event.get("more_body"):
                    return
                left -= len(event.get("body", b""))
