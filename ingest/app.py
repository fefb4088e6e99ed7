"""The ingest put together: its parts, and its routes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forebay.queues.certificates import Certificates
from forebay.queues.contract import Queue
from forebay.queues.moves.watch import MoveWatch
from forebay.queues.registry.contract import Registry
from forebay.queues.registry.teacher import Teacher
from forebay.queues.tracing.contract import Tracer
from forebay.schemas.codec import Codec, new_codec

from .answers import Answers
from .asgi import IngestApp
from .authenticate import Gate
from .body import BodyLimits
from .callers.allow_list import AllowList
from .callers.door import Door
from .callers.failures import Failures
from .callers.opening import open_allow_list
from .callers.settings import networks
from .endpoint import Endpoint
from .gaps import book as kept_gaps
from .gaps.gaps import Gaps
from .health import Health, Part
from .lifespan import Lifespan
from .metrics import Counters, IngestMetrics
from .openapi import openapi
from .operations import Live, Metrics, OpenApi, Ready
from .outlet import Outlet
from .portals.desk import Desk
from .portals.verifier import Verifier
from .reader import FormLimits, Reader
from .registration import Registration
from .seal import Sealer
from .settings import IngestSettings
from .spool.spool import Spool
from .telling import Teller
from .traced import TracedEndpoint

_MS = 1000


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
    data_dir: Path | None = None,
    everyones_metrics: Callable[[], bytes] | None = None,
    tracer: Tracer | None = None,
) -> Ingest:
    """Put the ingest together. Connects to nothing: queue and spool are opened when the server starts it.

    What the host has to know at its next start is noted in `data_dir`, or in memory alone. Tokens are verified by
    asking `oauth_urls`, unless there is another verifier. Of several processes `everyones_metrics` gives those of all.
    """
    metrics = IngestMetrics(everyone=everyones_metrics)
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
    desk = Desk(settings, queue, metrics, verifier, data_dir) if settings.keeps_portals else None
    moves = MoveWatch(queue, settings.topic)
    others: dict[str, Part | None] = {"schema_registry": registration, "allow_list": allow_list, "portals": desk}
    health = Health(outlet, {name: part for name, part in others.items() if part is not None}, moves)
    gaps = Gaps(data_dir / kept_gaps.FOLDER if data_dir else None, outlet, codec, metrics)
    teller = Teller()
    app = _bare_app(teller, Lifespan(outlet, gaps, health, registration, allow_list, desk, moves, metrics, tracer))
    app.has_proxies = bool(settings.callers.trusted_proxies)
    for endpoint in _endpoints(settings, outlet, gaps, codec, metrics, desk, allow_list, teller):
        _serve(app, endpoint, tracer)
    _add_operations(app, health)
    metrics_app = _bare_app(teller) if settings.metrics_bind else None
    (metrics_app or app).add_route("/metrics", Metrics(metrics))
    if metrics_app:
        _add_operations(metrics_app, health)
    paths = [given.path for given in settings.served]
    app.add_route("/openapi.json", OpenApi(openapi(paths, metrics.version, with_metrics=metrics_app is None)))
    return Ingest(app=app, metrics_app=metrics_app, health=health, metrics=metrics)


def _bare_app(teller: Teller, lifespan: Lifespan | None = None) -> IngestApp:
    app = IngestApp(lifespan)
    Answers(teller).answer_for(app)
    return app


def _endpoints(
    settings: IngestSettings,
    outlet: Outlet,
    gaps: Gaps,
    codec: Codec,
    metrics: IngestMetrics,
    desk: Desk | None,
    allow_list: AllowList | None,
    teller: Teller,
) -> Iterator[Endpoint]:
    proxies, failures = networks(settings.callers.trusted_proxies), Failures()
    portal_keys = desk.portal_keys if desk else None
    sealer = Sealer(settings.seal_key_bytes(), portal_keys)
    body_limits = BodyLimits(max_bytes=settings.max_body_bytes, timeout_s=settings.body_timeout_s)
    form_limits = FormLimits(max_fields=settings.max_fields, max_depth=settings.max_depth)
    reader = Reader(form_limits, sealer, codec)
    for given in settings.served:
        gate = Gate(given.proofs(), key_is_member_id=settings.key == "member_id")
        yield Endpoint(
            given.path,
            door=Door(
                proxies=proxies,
                allow_list=allow_list,
                failures=failures,
                teller=teller,
                proves_otherwise="none" not in given.auth,
            ),
            gate=gate,
            doorway=desk.doorway(given, gate, outlet, codec) if desk else None,
            reader=reader,
            sealer=sealer,
            portal_keys=portal_keys,
            application=given.client_id,
            outlet=outlet,
            gaps=gaps,
            counters=Counters(metrics, given.path),
            body_limits=body_limits,
        )


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
