"""The operators' page as an application: its routes, and what is said when something goes wrong."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from traceback import format_exception
from typing import Any, TypeAlias

import falcon
import falcon.asgi
from falcon.asgi import Request, Response

from forebay.console.errors import WrongUsage
from forebay.console.settings import Settings
from forebay.queues.errors import QueueError
from forebay.schemas.logger import get_logger

from . import views
from .guard import PROBES, Guard
from .layout import STYLE, html_of
from .look import Asked, Look, Looks, looking
from .overview import overview
from .page import Page

_log = get_logger(__name__)

View: TypeAlias = Callable[[Look, Asked], Awaitable[Page]]

#: What stands in an address, of which a view takes what it knows.
_ASKED = ("portal", "group", "event", "error")

#: What Falcon has no words for.
_SAID = {404: "there is nothing at this address", 405: "this page changes nothing, and takes GET and HEAD alone"}

#: A group, an id or a key of another program may have a slash: the rest of the address is its name.
_VIEWS: Mapping[str, View] = {
    "/": overview,
    "/groups/{group:path}": views.group,
    "/parked": views.parked,
    "/dead": views.dead,
    "/dead/{id:path}": views.dead_letter,
    "/quarantine": views.quarantine,
    "/quarantine/{id:path}": views.quarantined_call,
    "/portals": views.portals,
    "/portals/{portal:path}": views.portal,
    "/audit": views.audit,
}


def create_app(settings: Settings) -> "falcon.asgi.App[Request, Response]":
    """Put it together. Connects to nothing before somebody asks."""
    password = settings.web_password
    app = _App(middleware=[Guard(password.get_secret_value() if password else None)])
    looks, errors = Looks(), _Errors(settings.topic)
    for path, view in _VIEWS.items():
        app.add_route(path, _Shown(view, looks, settings))
    app.add_route(STYLE, _Style())
    for path in PROBES:
        app.add_route(path, _Probed())
    for error in (Exception, falcon.HTTPError, QueueError, WrongUsage):
        app.add_error_handler(error, errors.show)
    return app


class _App(falcon.asgi.App[Request, Response]):
    """Falcon, without WebSockets: closed before it is accepted, the server answers 403."""

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Callable[..., Awaitable[None]]) -> None:  # type: ignore[override]  # Falcon's types of the ASGI callables are its own
        """One request."""
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1000})
        await super().__call__(scope, receive, send)


class _Shown:
    """A page."""

    def __init__(self, view: View, looks: Looks, settings: Settings) -> None:
        self._view, self._looks, self._settings = view, looks, settings

    async def on_get(self, request: Request, response: Response, **parts: str) -> None:
        """Look it up, or show what was looked up a moment ago."""
        given = {name: (request.get_param(name) or "").strip() for name in _ASKED}
        asked = {name: value for name, value in given.items() if value} | parts

        async def look_up() -> Page:
            async with looking(self._settings) as look:
                return await self._view(look, asked)

        page = await self._looks.page((request.path, *sorted(asked.items())), look_up)
        _write(response, page, self._settings.topic)

    on_head = on_get


class _Style:
    """How it looks."""

    async def on_get(self, request: Request, response: Response) -> None:
        """The stylesheet."""
        response.content_type = "text/css; charset=utf-8"
        response.text = Path(__file__).with_name("style.css").read_text("utf-8")

    on_head = on_get


class _Probed:
    """Whether the process answers."""

    async def on_get(self, request: Request, response: Response) -> None:
        """Always, and without the password."""
        response.media = {"status": "ok"}

    on_head = on_get


class _Errors:
    """Falcon's error handlers: a page with the reason, as a command would tell it."""

    def __init__(self, topic: str) -> None:
        self._topic = topic

    async def show(self, request: Request, response: Response, error: Exception, params: Mapping[str, Any]) -> None:
        """By the kind of the error."""
        match error:
            case falcon.HTTPError():
                status, told = error.status_code, error.description or _SAID.get(error.status_code) or error.title
                response.set_headers(dict(error.headers or {}))
            case WrongUsage():
                status, told = 400, str(error)
            case QueueError():
                status, told = 503, str(error)
            case _:
                # As text: a log that shows a traceback's variables may show what an event holds.
                _log.error("a page failed", path=request.path, traceback="".join(format_exception(error)))
                status, told = 500, "this is a fault of Forebay; its log has all of it"
        response.status = status
        _write(response, Page(title="Not to be shown", values={"why": told}), self._topic)


def _write(response: Response, page: Page, topic: str) -> None:
    response.content_type = "text/html; charset=utf-8"
    response.text = html_of(page, topic)
