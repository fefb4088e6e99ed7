"""Whatever the values: what is rendered is what Kubernetes takes, and what can't work is refused with a sentence."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from .chart import CHART, attempted
from .kube_schemas import VERSIONS, faults_of

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))

Values = dict[str, Any]

pytestmark = pytest.mark.timeout(600)

#: A call of Helm costs a tenth of a second, or several on a busy machine.
EXAMPLES = settings(
    max_examples=30,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: What has a form that the schema can't tell: any such text would be refused by Kubernetes, and rightly.
SECRET = st.sampled_from(["", "one", "two"])
FORMS: Mapping[str, SearchStrategy[Any]] = {
    "nameOverride": st.sampled_from(["", "queue", "forebay-of-a-very-long-name-that-is-cut"]),
    "fullnameOverride": st.sampled_from(["", "queue", "forebay-of-a-very-long-name-that-is-cut"]),
    "imageRegistry": st.sampled_from(["", "registry.example.com"]),
    "topic": st.sampled_from(["bitrix24.events", "Events_of_1"]),
    "brokers": st.lists(st.sampled_from(["k1:9092", "k2.example.com:9093"]), max_size=2),
    "size": st.sampled_from(["1Gi", "1.5Gi", "4Gi", "6442450944", "20G"]),
    "tmpSize": st.sampled_from(["256Mi", "2Gi"]),
    "handlers": st.sampled_from(["shop:handlers", "shop.crm:handlers"]),
    "workingDir": st.just("/app"),
    "listenAddress": st.sampled_from(["0.0.0.0", "[::]"]),  # noqa: S104 - rendered only
    "serverAddress": st.sampled_from(["", "http://prometheus:9090"]),
    "url": st.sampled_from(["", "https://registry.example.com", "http://registry:8081/apis"]),
    "endpoint": st.sampled_from(["", "http://collector:4318", "https://otlp.example.com/v1"]),
    "sampleRatio": st.sampled_from([0, 0.01, 1]),
    "interval": st.sampled_from(["15s", "1m"]),
    "scrapeTimeout": st.just("10s"),
    "existingSecret": SECRET,
    "caSecret": SECRET,
    "clientSecret": SECRET,
    "cluster": st.sampled_from(["", "events"]),
    "namespace": st.sampled_from(["", "kafka"]),
    "hosts": st.lists(st.just("events.example.com"), max_size=1),
    "hostnames": st.lists(st.just("events.example.com"), max_size=1),
    "paths": st.just(["/bitrix24"]),
    "group": st.sampled_from(["", "mine"]),
    "tag": st.sampled_from(["", "1.0"]),
    "digest": st.sampled_from(["", "sha256:" + "0123456789abcdef" * 4]),
    "username": st.sampled_from(["", "forebay"]),
    "usernameKey": st.sampled_from(["", "user"]),
    "commonLabels": st.sampled_from([{}, {"team": "integrations"}]),
    "podLabels": st.sampled_from([{}, {"tier": "front"}]),
    "commonAnnotations": st.sampled_from([{}, {"example.com/owner": "integrations"}]),
    "podAnnotations": st.sampled_from([{}, {"example.com/pod": "1"}]),
    "tolerations": st.sampled_from([[], [{"operator": "Exists"}]]),
    "topologySpreadConstraints": st.sampled_from(
        [None, [], [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]]
    ),
    "parentRefs": st.sampled_from([[], [{"name": "public"}]]),
    "processorEgress": st.sampled_from([[], [{}], [{"ports": [{"port": 443, "protocol": "TCP"}]}]]),
    "extraEnv": st.sampled_from([[], [{"name": "TZ", "value": "UTC"}]]),
    "authenticationRef": st.sampled_from([{}, {"name": "mine"}]),
    "externalTrafficPolicy": st.sampled_from([None, "Local"]),
    "trafficDistribution": st.sampled_from([None, "PreferClose"]),
    "name": st.sampled_from(["", "account"]),
    "whenDeleted": st.sampled_from(["Retain", "Delete"]),
    "rollOnSecretChange": st.booleans(),
    "errorBudget": st.sampled_from([0.0005, 0.01]),
    "spoolFullRatio": st.sampled_from([0.5, 1]),
    "runbookUrl": st.sampled_from(["", "https://example.com/books"]),
    "groups": st.sampled_from([[], ["audit"], ["crm", "audit"]]),
}


@st.composite
def tables(draw: DrawFn, schema: Mapping[str, Any]) -> Values:
    """Some of the values of a table."""
    names = draw(st.lists(st.sampled_from(sorted(schema["properties"])), max_size=6, unique=True))
    found = {name: draw(one) for name in names if (one := values_of(name, schema["properties"][name])) is not None}
    return {name: value for name, value in found.items() if value != {}}


def values_of(name: str, schema: Mapping[str, Any]) -> SearchStrategy[Any] | None:
    """Values that the schema takes; None where only somebody who knows the cluster can say one."""
    schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if name in FORMS:
        return FORMS[name]
    if name == "processors":
        return st.dictionaries(
            st.sampled_from(["crm", "mail-and-more"]), tables(SCHEMA["$defs"]["processor"]), max_size=2
        )
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object" and schema.get("properties"):
        return tables(schema)
    plain: Mapping[str, Callable[[], SearchStrategy[Any]]] = {
        "boolean": st.booleans,
        "integer": lambda: st.integers(
            _least(schema), min(schema.get("maximum", _least(schema) + 60), _least(schema) + 60)
        ),
        "number": lambda: st.sampled_from([_least(schema) + 1, _least(schema) + 30.5]),
    }
    return plain[kind]() if isinstance(kind, str) and kind in plain else None


def _least(schema: Mapping[str, Any]) -> int:
    return int(schema.get("minimum", 1))


def likely(drawn: Values) -> Values:
    """The same over what nearly every installation has, so that not all are refused for the same two reasons."""
    return {"auth": {"policies": ["none"]}, **drawn, "kafka": {"brokers": ["k1:9092"], **drawn.get("kafka", {})}}


@EXAMPLES
@given(drawn=tables(SCHEMA))
def test_any_values_of_the_right_types_give_right_objects_or_a_sentence(drawn: Values, custom_schemas: Path) -> None:
    done = attempted([likely(drawn)])

    if done.returncode:
        event("refused")
        assert "these values can't be used:\n  - " in done.stderr, done.stderr
    else:
        event("rendered")
        assert faults_of(done.stdout, VERSIONS[-1], custom_schemas) == ""


@pytest.mark.parametrize("part", sorted(set(SCHEMA["properties"]) - {"global", "processors"}))
def test_another_type_in_any_part_is_refused_by_its_name(part: str) -> None:
    broken = 7 if SCHEMA["properties"][part].get("type") != "integer" else "seven"

    done = attempted([likely({}) | {part: broken}])

    assert done.returncode != 0
    assert f"/{part}" in done.stderr


@EXAMPLES
@given(
    name=st.from_regex(r"[a-z][a-zA-Z]{3,12}", fullmatch=True),
    part=st.sampled_from(["ingest", "kafka", "auth", "queue"]),
)
def test_a_name_that_nobody_knows_is_refused_and_told(name: str, part: str) -> None:
    if name in SCHEMA["properties"][part]["properties"]:
        return

    done = attempted([likely({}) | {part: {name: 1}}])

    assert done.returncode != 0
    assert name in done.stderr
