"""What the ingest answers, as OpenAPI 3.1."""

from collections.abc import Sequence
from typing import Any

_REF = "#/components/schemas/"


def _answer(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": _REF + schema}}}}


_REFUSALS = {
    "400": "The connection or the request is broken",
    "403": "Nothing proves that the call comes from one of our portals, or its address may not call",
    "408": "The body did not arrive in time",
    "413": "The body is larger than max_body_bytes",
    "414": "The URL is too long",
    "415": "A coding or a media type that a portal doesn't send",
    "422": "No event, or a call whose sender waits for an answer that a queue can't give",
    "431": "The headers are too many or too long",
    "500": "A fault in Forebay itself",
    "501": "A transfer coding that nobody knows",
    "503": "Nothing can be kept just now; see Retry-After",
}

_COMPONENTS: dict[str, Any] = {
    "Kept": {
        "type": "object",
        "required": ["status", "id"],
        "properties": {
            "status": {"enum": ["accepted", "quarantined"]},
            "id": {"type": "string", "format": "uuid", "description": "The event's id: a UUID version 7"},
        },
    },
    "Refusal": {
        "type": "object",
        "required": ["error", "detail", "request_id"],
        "properties": {
            "error": {"type": "string", "pattern": "^[a-z_]+$"},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
        },
    },
    "Health": {
        "type": "object",
        "required": ["status", "parts"],
        "properties": {
            "status": {"enum": ["ok", "degraded", "failing"]},
            "parts": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "Hello": {
        "type": "object",
        "required": ["status", "detail"],
        "properties": {"status": {"const": "ok"}, "detail": {"type": "string"}},
    },
}


def _endpoint(path: str) -> dict[str, Any]:
    form = {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}
    refusals = {status: _answer(text, "Refusal") for status, text in _REFUSALS.items()}
    return {
        "post": {
            "summary": "A Bitrix24 event",
            "operationId": f"post {path}",
            "requestBody": {"required": True, "content": form},
            "responses": {"200": _answer("The event is kept", "Kept"), **refusals},
        },
        **_read(path, "Is somebody there? Queues nothing", {"200": _answer("Yes", "Hello")}),
    }


def _health(path: str, summary: str) -> dict[str, Any]:
    return _read(path, summary, {"200": _answer("Yes", "Health"), "503": _answer("No", "Health")})


def _read(path: str, summary: str, answers: dict[str, Any]) -> dict[str, Any]:
    """GET, and HEAD, which answers the same without its body."""
    heads = {status: {"description": answer["description"]} for status, answer in answers.items()}
    return {
        "get": {"summary": summary, "operationId": f"get {path}", "responses": answers},
        "head": {"summary": summary, "operationId": f"head {path}", "responses": heads},
    }


def openapi(endpoints: Sequence[str], version: str, *, with_metrics: bool) -> dict[str, Any]:
    """The document for an ingest with endpoints at these paths."""
    paths = {path: _endpoint(path) for path in endpoints}
    paths["/live"] = _health("/live", "Is the process alive?")
    paths["/ready"] = _health("/ready", "May calls be sent here?")
    if with_metrics:
        text = {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
        paths["/metrics"] = _read("/metrics", "Metrics", {"200": text})
    document = {"description": "This document", "content": {"application/json": {"schema": {"type": "object"}}}}
    paths["/openapi.json"] = _read("/openapi.json", "This document", {"200": document})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Forebay ingest", "version": version},
        "paths": paths,
        "components": {"schemas": _COMPONENTS},
    }
