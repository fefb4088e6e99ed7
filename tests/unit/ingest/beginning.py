"""Who gives an application its calls as a connection does that has them whole."""

from typing import cast

from forebay.ingest.asgi import IngestApp
from forebay.ingest.request import Kept, PortalRequest

from .conftest import EVENT, Running


class Began:
    """Begins a call in the application, and hears what became of it."""

    def __init__(self, ingest: Running, *, has_left: bool = False) -> None:
        self._app = cast(IngestApp, ingest.conductor.app)
        self._has_left = has_left
        self.heard: list[Kept | PortalRequest] = []

    def call(self, body: str = EVENT, path: str = "/bitrix24", **headers: str) -> bool:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "headers": given, "query_string": b"", "client": ("127.0.0.1", 1)}
        return self._app.begin(scope, body.encode(), self._told)

    def _told(self, kept: Kept | PortalRequest) -> bool:
        self.heard.append(kept)
        return not self._has_left
