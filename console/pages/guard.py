"""Who may see the pages, and what a browser may do with them."""

import re
from base64 import b64decode
from hmac import compare_digest

import falcon
from falcon.asgi import Request, Response

from forebay.ingest.callers.networks import is_loopback
from forebay.schemas.logger import get_logger

_log = get_logger(__name__)

#: For whoever asks whether the process is there. It is well as long as it answers.
PROBES = ("/live", "/ready")

_ASKS = 'Basic realm="Forebay", charset="UTF-8"'

#: No script, no frame around it, nothing from elsewhere; and nothing of it is left in a cache, or told to others.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

#: A name or an address; a port, which may be empty (RFC 9110, 7.2), says nothing of who was asked.
_HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:]*))(?::[0-9]*)?")


class Guard:
    """Falcon middleware. With a password only who has it sees a page; without one, who is on this machine.

    A site that has its own name lead to this machine (DNS rebinding) makes a browser ask here under that name: without
    a password a page is only shown under a name of this machine.
    """

    def __init__(self, password: str | None) -> None:
        self._password = password

    async def process_request(self, request: Request, response: Response) -> None:
        """Raises `HTTPUnauthorized` or `HTTPForbidden`."""
        if request.path in PROBES:
            return
        if self._password is not None:
            self._check_password(request, self._password)
        elif not is_loopback(_host(request)):
            raise falcon.HTTPForbidden(
                title="asked for under another name",
                description="without web_password this page is shown at 127.0.0.1 and localhost alone",
            )

    def _check_password(self, request: Request, password: str) -> None:
        given = _password_in(request.auth)
        if given is not None and compare_digest(given, password.encode()):
            return
        if given is not None:
            _log.warning("a wrong password for the operators' page", remote=request.remote_addr)
        raise falcon.HTTPUnauthorized(
            title="which password?",
            description="any name, and web_password",
            challenges=[_ASKS],
        )

    async def process_response(
        self, request: Request, response: Response, resource: object, req_succeeded: bool
    ) -> None:
        """Whatever the answer is."""
        response.set_headers(_HEADERS)


def _host(request: Request) -> str:
    # What Falcon makes of it raises where the port is none.
    named = _HOST.fullmatch(request.get_header("Host") or request.host)
    return (named["v6"] or named["host"]).lower() if named else ""


def _password_in(header: str | None) -> bytes | None:
    scheme, _, given = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = b64decode(given.strip(), validate=True).partition(b":")
    except ValueError:
        return None
    return password if colon else None
