"""Falcon's application, as it is called here: past Falcon for nearly every call."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import falcon
import falcon.asgi
from falcon.asgi import Response

from .answers import JSON
from .body import drain
from .callers.door import FORWARDED
from .lifespan import Lifespan
from .paths import Paths
from .request import REQUEST, Events, Kept, PortalRequest, Told, request_for_falcon

#: Each proxy may add a line of its own.
_FORWARDED_FOR = b"x-forwarded-for"

#: What resources here take; OPTIONS is no browser's business.
_METHODS = ("GET", "HEAD", "POST")


async def _nothing_read() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": True}


class IngestApp(falcon.asgi.App[PortalRequest, Response]):
    """Falcon, so that no body is waited for before the endpoint reads it, and every answer has the request's id."""

    #: Whether there are proxies whose word on who called counts.
    has_proxies = False

    def __init__(self, lifespan: Lifespan | None = None) -> None:
        super().__init__(
            media_type=JSON,
            # Falcon only calls it.
            request_type=cast(type[PortalRequest], request_for_falcon),
            middleware=[lifespan] if lifespan else [],
        )
        #: Of the endpoints whose calls need nothing of Falcon; they stand at its routes, too.
        self.paths = Paths()

    def begin(self, scope: dict[str, Any], body: bytes, told: Told) -> bool:
        """`taken` without a task, of a whole call whose event the queue is given at once: of nearly every one.

        Of the scope there needs to be path, headers, query, client and server. False where that is not to be: then
        `taken` is to be called. A request that `told` hears of is answered by a call with the request in its scope.
        """
        endpoint, rest = self.paths.find(scope["path"])
        return endpoint is not None and endpoint.begin(self._request(scope, _nothing_read), rest, body, told)

    async def taken(self, scope: dict[str, Any], receive: Events) -> Kept | None:
        """Keep the event of a POST past Falcon, whose own part costs more than parsing the form.

        None where that is not to be, or something goes wrong: whoever asked calls the application with the same scope
        then, and gets the answer by Falcon's error handlers.
        """
        endpoint, rest = self.paths.find(scope["path"])
        if endpoint is None or scope["method"] != "POST":
            return None
        request = self._request(scope, receive)
        try:
            return request.request_id_sent, await endpoint.take(request, rest)
        except Exception as error:  # whatever it is: Falcon's error handlers see to all
            request.error, scope[REQUEST] = error, request
            return None

    def _request(self, scope: dict[str, Any], receive: Events) -> PortalRequest:
        # By the ASGI specification they may be an iterable of iterables, each good for one time only.
        given = scope["headers"]
        if self.has_proxies:
            given = [(name, value) for name, value in given]
            scope[FORWARDED] = [value for name, value in given if name == _FORWARDED_FOR]
        return PortalRequest(scope, receive, dict(given))

    async def __call__(  # type: ignore[override]  # Falcon's types of the ASGI callables are its own
        self,
        scope: dict[str, Any],
        receive: Events,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """One request, which may have failed to be taken before, or the worker's life."""
        if scope["type"] == "websocket":
            # There are none here; closed before it is accepted, the server answers 403.
            return await send({"type": "websocket.close", "code": 1000})
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        request: PortalRequest = scope.get(REQUEST) or self._request(scope, receive)
        # One that was begun knew only a part of it.
        request.scope, request.events = scope, receive
        await self._answer(request, send)

    async def _answer(self, request: PortalRequest, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """By Falcon's routes and error handlers."""
        scope = request.scope
        scope["headers"], scope[REQUEST] = request.sent.items(), request
        closes = False

        def answer(message: dict[str, Any]) -> Awaitable[None]:
            nonlocal closes
            if message["type"] == "http.response.start":
                closes = (b"connection", b"close") in message["headers"]
                message["headers"].append((b"x-request-id", request.request_id_sent))
            return send(message)

        await super().__call__(scope, _nothing_read, answer)
        if closes:
            await drain(request.events)

    def add_route(self, uri_template: str, resource: Any, **kwargs: Any) -> None:
        """Falcon's, without the answer to OPTIONS that it would make of its own."""
        allowed = [method for method in _METHODS if hasattr(resource, f"on_{method.lower()}")]

        async def refuse(request: PortalRequest, response: Response, **params: object) -> None:
            raise falcon.HTTPMethodNotAllowed(allowed)

        resource.on_options = refuse
        # Otherwise Falcon compiles its routes at the first request, in each worker anew.
        super().add_route(uri_template, resource, compile=True, **kwargs)
