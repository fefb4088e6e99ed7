"""The real server does what its OpenAPI document says, tried with whatever schemathesis makes up from it."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from .conftest import Start

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_every_answer_is_one_of_the_document(start: Start) -> None:
    served = start(endpoints=[{"path": "/bitrix24"}, {"path": "/other", "secret": "0123456789abcdef"}])
    document = schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/openapi.json")

    tried = [_try(found) for found in document.get_all_operations()]

    # The document's own GET is left out by schemathesis.
    assert tried == [
        "POST /bitrix24",
        "GET /bitrix24",
        "HEAD /bitrix24",
        "POST /other",
        "GET /other",
        "HEAD /other",
        "GET /live",
        "HEAD /live",
        "GET /ready",
        "HEAD /ready",
        "GET /metrics",
        "HEAD /metrics",
        "HEAD /openapi.json",
    ]


def _try(found: Any) -> str:
    operation = found.ok()

    # schemathesis' own pytest plugin doesn't know pytest 9.2.
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy())
    def one(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    one()
    return str(operation.label)
