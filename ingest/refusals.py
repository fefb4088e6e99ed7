"""The one table from what can be wrong with a call to its answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from forebay.queues.errors import QueueError

from .errors import (
    AddressNotAllowed,
    AwaitsAnswer,
    BodyTooLarge,
    BodyTooSlow,
    CallerLeft,
    EmptyBody,
    MediaNotRead,
    NotOurPortal,
)

#: What a sender that tries again should leave between two attempts.
_RETRY_AFTER_S = "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How an error is answered and counted. With `detail` the answer says that, not the error's own words."""

    status: int
    slug: str
    outcome: str = "refused_input"
    detail: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


#: Nothing that a caller sends may lead here; if it does, the log has the reason.
INTERNAL = Refusal(status=500, slug="internal", outcome="refused_full", detail="something is wrong in Forebay itself")

_CLOSE = (("connection", "close"),)

REFUSALS: Mapping[type[Exception], Refusal] = {
    NotOurPortal: Refusal(status=403, slug="not_our_portal", outcome="refused_auth"),
    AddressNotAllowed: Refusal(
        status=403,
        slug="address_not_allowed",
        outcome="refused_auth",
        detail="calls from this address are not taken",
        headers=_CLOSE,
    ),
    BodyTooSlow: Refusal(status=408, slug="body_too_slow", headers=_CLOSE),
    BodyTooLarge: Refusal(status=413, slug="body_too_large", headers=_CLOSE),
    MediaNotRead: Refusal(status=415, slug="media_not_read", headers=_CLOSE),
    EmptyBody: Refusal(status=422, slug="empty_body"),
    AwaitsAnswer: Refusal(status=422, slug="awaits_answer"),
    CallerLeft: Refusal(status=400, slug="caller_left", headers=_CLOSE),
    QueueError: Refusal(
        status=503,
        slug="not_kept",
        outcome="refused_full",
        detail="the event can't be kept just now; send it again later",
        headers=(("retry-after", _RETRY_AFTER_S),),
    ),
}

#: What never comes to the application, by its status → its slug and detail. The parser's own words quote the URL.
_UNREAD = {
    403: ("no_web_socket", "there are no web sockets here"),
    408: ("headers_too_slow", "too much was coming at once, and this was the request that had been coming for longest"),
    414: ("url_too_long", "the first line of the request is too long"),
    431: ("headers_too_large", "the headers are too many or too long"),
    500: (INTERNAL.slug, INTERNAL.detail),
    501: ("media_not_read", "of the transfer codings only chunked is read"),
}
_BROKEN = ("bad_request", "the request is not understood")


def refusal_of(error: Exception) -> Refusal:
    """How the error is answered."""
    return next((REFUSALS[kind] for kind in type(error).__mro__ if kind in REFUSALS), INTERNAL)


def slug_and_detail(status: int) -> tuple[str, str | None]:
    """What is said of a request that never comes to the application."""
    return _UNREAD.get(status, _BROKEN)
