"""The ingest's ASGI application: its parts put together, its routes, and how errors are answered."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import falcon
import falcon.asgi
import orjson
from falcon.asgi import Response

from forebay.queues.certificates import Certificates
from forebay.queues.contract import Queue
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.teacher import Teacher
from forebay.queues.tracing.contract import Tracer
from forebay.schemas.codec import Codec, new_codec

from .answers import JSON, Answers
from .authenticate import Gate
from .body import BodyLimits, drain
from .callers.allow_list import AllowList
from .callers.door import FORWARDED, Door
from .callers.failures import Failures
from .callers.opening import open_allow_list
from .callers.settings import networks
from .endpoint import Endpoint
from .endpoint_settings import EndpointSettings
from .gaps.gaps import Gaps
from .health import Health, Live, Ready
from .lifespan import Lifespan
from .metrics import Counters, IngestMetrics
from .openapi import openapi
from .outlet import Outlet
from .paths import Paths
from .portals.desk import Desk
from .portals.verifier import Verifier
from .reader import FormLimits
from .registration import Registration
from .request import REQUEST, Events, Kept, PortalRequest, Told, request_for_falcon
from .seal import Sealer
from .settings import IngestSettings
from .spool.spool import Spool
from .telling import Teller
from .traced import TracedEndpoint

_MS = 1000

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


class Metrics:
    """GET /metrics."""

    def __init__(self, metrics: IngestMetrics) -> None:
        self._metrics = metrics

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """Prometheus' text format, of all workers."""
        response.content_type = "text/plain; version=0.0.4; charset=utf-8"
        response.data = self._metrics.exposition()

    on_head = on_get


class OpenApi:
    """GET /openapi.json."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = orjson.dumps(document)

    async def on_get(self, request: PortalRequest, response: Response) -> None:
        """The document."""
        response.data = self._document

    on_head = on_get


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingest:
    """The application, what answers `/metrics` where it has an address of its own, the worker's health and counts."""

    app: IngestApp
    metrics_app: IngestApp | None
    health: Health
    metrics: IngestMetrics


def create_app(
    settings: IngestSettings,
    queue: Queue,
    *,
    spool: Spool | None = None,
    registry: Registry | None = None,
    verifier: Verifier | None = None,
    gaps_folder: Path | None = None,
    multiprocess_dir: str | None = None,
    tracer: Tracer | None = None,
) -> Ingest:
    """Put the ingest together. Connects to nothing: queue and spool are opened when the server starts it.

    What is kept nowhere is noted in `gaps_folder`, or in memory alone. Tokens are verified by asking
    `oauth_urls`, unless there is another verifier.
    """
    metrics = IngestMetrics(multiprocess_dir=multiprocess_dir)
    metrics.watch_certificates(Certificates(settings))
    if spool:
        metrics.watch(spool)
    outlet = Outlet(
        queue,
        topic=settings.topic,
        partitions=settings.partitions,
        spool=spool,
        deadline_s=settings.ack_deadline_ms / _MS,
        portal_rate=settings.portal_rate,
        tracer=tracer,
    )
    codec = new_codec()
    registration = Registration(registry, Teacher(codec, registry, settings.topic)) if registry else None
    allow_list = open_allow_list(settings)
    if allow_list:
        metrics.watch_allow_list(allow_list)
    desk = Desk(settings, queue, metrics, verifier) if settings.keeps_portals else None
    health = Health(outlet, registration, allow_list, desk)
    gaps = Gaps(gaps_folder, outlet, codec, metrics)
    teller, failures = Teller(), Failures()
    app = _bare_app(teller, Lifespan(outlet, gaps, health, registration, allow_list, desk, metrics, tracer))
    app.has_proxies = bool(settings.callers.trusted_proxies)
    for endpoint in settings.served:
        door = _door(endpoint, settings, allow_list, failures, teller)
        _serve(app, _endpoint(endpoint, settings, door, outlet, gaps, codec, metrics, desk), tracer)
    _add_operations(app, health)
    metrics_app = _bare_app(teller) if settings.metrics_bind else None
    (metrics_app or app).add_route("/metrics", Metrics(metrics))
    if metrics_app:
        _add_operations(metrics_app, health)
    paths = [endpoint.path for endpoint in settings.served]
    app.add_route("/openapi.json", OpenApi(openapi(paths, metrics.version, with_metrics=metrics_app is None)))
    return Ingest(app=app, metrics_app=metrics_app, health=health, metrics=metrics)


def _bare_app(teller: Teller, lifespan: Lifespan | None = None) -> IngestApp:
    app = IngestApp(lifespan)
    Answers(teller).answer_for(app)
    return app


def _add_operations(app: IngestApp, health: Health) -> None:
    app.add_route("/live", Live())
    app.add_route("/ready", Ready(health))


def _serve(app: IngestApp, endpoint: Endpoint, tracer: Tracer | None) -> None:
    root = endpoint.path.rstrip("/")
    resource = TracedEndpoint(endpoint, tracer) if tracer else endpoint
    app.add_route(root or "/", resource)
    if tracer is None:
        app.paths.add(root, endpoint)
    app.add_route(root + "/{rest:path}", resource)


def _door(
    given: EndpointSettings,
    settings: IngestSettings,
    allow_list: AllowList | None,
    failures: Failures,
    teller: Teller,
) -> Door:
    return Door(
        proxies=networks(settings.callers.trusted_proxies),
        allow_list=allow_list,
        failures=failures,
        teller=teller,
        proves_otherwise="none" not in given.auth,
    )


def _endpoint(
    given: EndpointSettings,
    settings: IngestSettings,
    door: Door,
    outlet: Outlet,
    gaps: Gaps,
    codec: Codec,
    metrics: IngestMetrics,
    desk: Desk | None,
) -> Endpoint:
    gate = Gate(given.proofs(), key_is_member_id=settings.key == "member_id")
    portal_keys = desk.portal_keys if desk else None
    return Endpoint(
        given.path,
        door=door,
        gate=gate,
        doorway=desk.doorway(given, gate, outlet, codec) if desk else None,
        sealer=Sealer(settings.seal_key_bytes(), portal_keys),
        portal_keys=portal_keys,
        application=given.client_id,
        outlet=outlet,
        gaps=gaps,
        codec=codec,
        counters=Counters(metrics, given.path),
        body_limits=BodyLimits(max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s),
        form_limits=FormLimits(max_fields=settings.max_fields, max_depth=settings.max_depth),
    )
