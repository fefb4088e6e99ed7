"""An endpoint whose calls are told to a tracer. Without one, the endpoint stands at its address itself."""

from falcon.asgi import Response

from forebay.queues.tracing.contract import Tracer

from .endpoint import Endpoint
from .refusals import refusal_of
from .request import PortalRequest


class TracedEndpoint:
    """The same Falcon resource, with a span around each call."""

    def __init__(self, endpoint: Endpoint, tracer: Tracer) -> None:
        self._endpoint, self._tracer = endpoint, tracer
        self.on_get, self.on_head = endpoint.on_get, endpoint.on_head

    async def on_post(self, request: PortalRequest, response: Response, rest: str = "") -> None:
        """As the endpoint's. The span ends before the answer is written."""
        with self._tracer.call(self._endpoint.path, request.traceparent) as request.trace:
            try:
                await self._endpoint.on_post(request, response, rest)
            except Exception as error:
                refusal = refusal_of(error)
                request.trace.refused(refusal.status, refusal.slug)
                raise
