"""What can be wrong with a call. Which status each is answered with stands in one table, in refusals.py."""

from forebay.schemas.errors import ForebayError


class CallRefused(ForebayError):
    """This call is not taken; the message tells the caller why, and quotes nothing of what was sent."""


class NotOurPortal(CallRefused):
    """The call does not prove that it comes from a portal of ours."""

    def __init__(self, detail: str, portal: str | None = None) -> None:
        super().__init__(detail)
        #: Which one it says that it is.
        self.portal = portal


class FailsAgain(NotOurPortal):
    """The same, of somebody from whom many such calls came: it is counted, and not logged any more."""


class AddressNotAllowed(CallRefused):
    """The call comes from an address that is not in the allow list (setting callers)."""


class BodyTooSlow(CallRefused):
    """The body did not arrive within `body_timeout_s`."""


class BodyTooLarge(CallRefused):
    """The body is larger than `max_body_bytes`."""


class MediaNotRead(CallRefused):
    """The body is in a coding or of a media type that a portal doesn't send."""


class AwaitsAnswer(CallRefused):
    """Bitrix24 waits for an answer made for this call; a queue can't give one."""


class EmptyBody(CallRefused):
    """The body has no fields."""


class CallerLeft(CallRefused):
    """The caller closed the connection before the body was whole."""


class Unreadable(ForebayError):
    """The call is authentic, but is no event that a handler could read. It is kept as it came, in quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
