"""How what goes wrong with a call is answered, counted and logged."""

import traceback

import falcon
import falcon.asgi
import orjson
from falcon.asgi import Response

from forebay.schemas.logger import get_logger
from forebay.schemas.trace_context import trace_words

from .errors import FailsAgain
from .refusals import INTERNAL, REFUSALS, Refusal, refusal_of
from .request import PortalRequest
from .telling import Teller

log = get_logger(__name__)

JSON = "application/json"

_BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
_DETAILS = {404: "there is nothing at this address", 405: "this address does not take that method"}


class Answers:
    """Falcon's error handlers."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    def answer_for(self, app: "falcon.asgi.App[PortalRequest, Response]") -> None:
        """From now on the application's errors are answered here."""
        for error in REFUSALS:
            app.add_error_handler(error, self._refuse)
        app.add_error_handler(falcon.HTTPError, _refuse_http)
        app.add_error_handler(Exception, _fail)

    async def _refuse(self, request: PortalRequest, response: Response, error: Exception, params: object) -> None:
        refusal = refusal_of(error)
        if not isinstance(error, FailsAgain):
            self._teller.warn(
                "a call was refused",
                endpoint=request.uri_template,
                error=refusal.slug,
                detail=str(error),
                request_id=request.request_id,
                **trace_words(request.sent.get(b"traceparent")),
            )
        _answer(request, response, refusal, refusal.detail or str(error))


async def _refuse_http(request: PortalRequest, response: Response, error: falcon.HTTPError, params: object) -> None:
    status = error.status_code
    # Falcon lists OPTIONS too; here it is refused like every other method.
    headers = tuple(
        (name, ", ".join(part for part in value.split(", ") if part != "OPTIONS"))
        for name, value in dict(error.headers or {}).items()
    )
    refusal = Refusal(status=status, slug=_BY_STATUS.get(status, "refused"), headers=headers)
    _answer(request, response, refusal, _DETAILS.get(status, error.title or "the request is not understood"))


async def _fail(request: PortalRequest, response: Response, error: Exception, params: object) -> None:
    # As text: a log that shows a traceback's variables would show the call's tokens.
    lines = "".join(traceback.format_exception(error))
    log.error("a call failed", endpoint=request.uri_template, request_id=request.request_id, traceback=lines)
    _answer(request, response, INTERNAL, INTERNAL.detail or "")


def _answer(request: PortalRequest, response: Response, refusal: Refusal, detail: str) -> None:
    if request.counters:
        request.counters.answered(refusal.outcome, request.seconds)
    response.status = refusal.status
    for name, value in refusal.headers:
        response.set_header(name, value)
    response.content_type = JSON
    response.data = orjson.dumps({"error": refusal.slug, "detail": detail, "request_id": request.request_id})
