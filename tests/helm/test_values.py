"""The values: closed, in step with the settings, and refused with a sentence where they can't work."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from forebay.console.settings import Settings

from .chart import CHART, CI, refusal, rendered

MINIMAL = CHART / "ci" / "minimal-values.yaml"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))

#: Settings that have a value of their own, or none: pods of a Deployment have no lasting names for group_instance_id.
ELSEWHERE = {
    *("bind", "metrics_bind", "ingest_processes", "data_dir", "spool_max_bytes", "drain_s", "topic", "partitions"),
    *("queue_url", "kafka", "group", "processes", "schema_registry_url", "schema_registry", "auth", "tokens"),
    *("url_secret", "endpoints", "seal_keys", "group_instance_id", "dedup_url", "web_bind", "web_password"),
}


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def unlike(values: Mapping[str, Any], schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Where the defaults and the schema have other names."""
    schema = resolved(schema)
    properties = schema.get("properties")
    if schema.get("additionalProperties") is not False or properties is None:
        return
    if at and (not values or at.endswith("Probe")):
        # Free by default, as an image's or a probe's values that are the cluster's.
        return
    yield from (f"{at}.{name}" for name in set(values) ^ set(properties))
    for name in set(values) & set(properties):
        if isinstance(values[name], dict):
            yield from unlike(values[name], properties[name], f"{at}.{name}".lstrip("."))


def opened(schema: Any, at: str = "") -> Iterator[str]:
    """Tables of ours that take any name."""
    schema = resolved(schema) if isinstance(schema, dict) else schema
    if not isinstance(schema, dict) or "properties" not in schema:
        return
    if schema.get("additionalProperties") is not False:
        yield at
    for name, one in schema["properties"].items():
        yield from opened(one, f"{at}.{name}".lstrip("."))


def test_the_schema_has_exactly_the_values_that_are_there() -> None:
    assert list(unlike(VALUES, SCHEMA)) == []


def test_no_table_of_ours_takes_names_that_it_does_not_know() -> None:
    # `global` is shared with the charts around.
    assert list(opened(SCHEMA)) == ["global"]
    assert list(opened(SCHEMA["$defs"]["processor"])) == []


def test_every_setting_of_forebay_can_be_given_once() -> None:
    assert set(SCHEMA["$defs"]["settings"]["properties"]) == set(Settings.model_fields) - ELSEWHERE


def test_settings_have_the_bounds_that_forebay_gives_them() -> None:
    described = Settings.model_json_schema()["properties"]

    for name, schema in SCHEMA["$defs"]["settings"]["properties"].items():
        for bound in ("type", "minimum", "exclusiveMinimum", "maximum", "enum"):
            if bound in described[name]:
                assert schema[bound] == described[name][bound], name


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_settings_arrive_as_forebay_reads_them(values: Any) -> None:
    from forebay.console.settings import load_settings

    for one in yaml.safe_load_all(rendered([values])):
        if one and one["kind"] in ("Deployment", "StatefulSet"):
            [container] = one["spec"]["template"]["spec"]["containers"]
            environ = {variable["name"]: variable["value"] for variable in container["env"]}
            loaded = load_settings(environ=readable(environ)).settings
            assert loaded.partitions == int(environ["FOREBAY_PARTITIONS"])


#: What stands in the Secrets of an installation.
CONTENTS = {
    "FOREBAY_TOKENS": '{"*": "0123456789abcdef"}',
    "FOREBAY_URL_SECRET": "0123456789abcdef",
    "FOREBAY_ENDPOINTS": '[{"path": "/a", "auth": "tokens", "tokens": {"*": "0123456789abcdef"}}]',
    "FOREBAY_SEAL_KEYS": json.dumps({"k1": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="}),
    "FOREBAY_DEDUP_URL": "postgresql://forebay:secret@db/forebay",
    "FOREBAY_QUEUE_URL": "postgresql://forebay:secret@db/forebay",
    "FOREBAY_WEB_PASSWORD": "0123456789abcdef",
}


def readable(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, with the contents of files in their place."""
    plain = {name: value for name, value in environ.items() if not name.endswith("_FILE")}
    files = {name.removesuffix("_FILE") for name in environ if name.endswith("_FILE")}
    return plain | {name: CONTENTS.get(name, "secret") for name in files}


REFUSED: list[tuple[Mapping[str, Any], str]] = [
    ({"kafka": {"brokers": []}}, "kafka.brokers: name at least one"),
    ({"kafka": {"brokers": ["kafka"]}}, "kafka"),
    ({"kafka": {"brokers": ["kafka://kafka:9092"]}}, "kafka"),
    ({"kafka": {"sasl": {"mechanism": "PLAIN"}}}, "kafka.sasl: PLAIN needs existingSecret"),
    ({"kafka": {"sasl": {"username": "me"}}}, "kafka.sasl.mechanism: a login needs"),
    ({"kafka": {"sasl": {"mechanism": "GSSAPI"}}}, "mechanism"),
    ({"kafka": {"sasl": {"mechanism": "OAUTHBEARER"}}}, "OAUTHBEARER needs tokenEndpointUrl"),
    ({"kafka": {"tls": {"caSecret": "ca"}}}, "kafka.tls.enabled"),
    ({"kafka": {"properties": {"sasl.password": "x"}}}, "kafka.properties: sasl.password is a secret"),
    (
        {"kafka": {"properties": {"sasl.oauthbearer.assertion.private.key.passphrase": "x"}}},
        "kafka.properties: sasl.oauthbearer.assertion.private.key.passphrase is a secret",
    ),
    (
        {"schemaRegistry": {"url": "http://r", "properties": {"basic.auth.user.info": "x"}}},
        "schemaRegistry.properties: basic.auth.user.info is a secret",
    ),
    ({"tracing": {"endpoint": "collector:4318"}}, "endpoint"),
    ({"tracing": {"sampleRatio": 1.5}}, "sampleRatio"),
    ({"auth": {"policies": []}}, "auth.policies: say what proves a call"),
    ({"auth": {"policies": ["none", "tokens"]}}, "none lets everybody in"),
    ({"auth": {"policies": ["registry"]}}, "sealing.existingSecret: the policy registry needs it"),
    ({"auth": {"policies": ["registry"]}}, "settings.client_id: the policy registry needs it"),
    ({"auth": {"policies": ["tokens"]}}, "auth.tokens.existingSecret: the policy tokens needs it"),
    ({"auth": {"urlSecret": {"existingSecret": "x"}}}, "auth.urlSecret.existingSecret: nobody reads it"),
    ({"auth": {"endpoints": {"existingSecret": "x"}}}, "auth.endpoints: has the policies"),
    ({"queue": {"type": "redis"}}, "type"),
    ({"queue": {"type": "url"}}, "queueUrl.existingSecret"),
    ({"queue": {"partitions": 0}}, "partitions"),
    ({"topics": {"mode": "strimzi"}}, "topics.strimzi.cluster"),
    ({"ingest": {"terminationGracePeriodSeconds": 49}}, "49 is too short; a stop takes up to 50 s"),
    ({"ingest": {"drainSeconds": 60, "terminationGracePeriodSeconds": 80}}, "a stop takes up to 85 s"),
    ({"ingest": {"drainSeconds": 0.5, "preStopSeconds": 0, "terminationGracePeriodSeconds": 15}}, "up to 16 s"),
    ({"ingest": {"spool": {"size": "1Gi"}}}, "ingest.spool.size: 1Gi is too small"),
    ({"ingest": {"spool": {"size": "much"}}}, "size"),
    ({"ingest": {"spool": {"mode": "memory"}}}, "mode"),
    ({"ingest": {"metricsPort": 8080}}, "ingest.metricsPort: needs another port"),
    ({"ingest": {"autoscaling": {"type": "hpa", "minReplicas": 9}}}, "can't be more than maxReplicas"),
    ({"ingest": {"autoscaling": {"type": "hpa"}, "resources": {"requests": {"cpu": None}}}}, "hpa measures by it"),
    ({"ingest": {"extraEnv": [{"value": "a"}]}}, "extraEnv"),
    ({"ingest": {"service": {"externalTrafficPolicy": "Local"}}}, "is for a service.type of NodePort or LoadBalancer"),
    (
        {"ingest": {"service": {"type": "NodePort", "loadBalancerClass": "a"}}},
        "ingest.service.loadBalancerClass: is for a service.type of LoadBalancer",
    ),
    ({"ingest": {"ingress": {"enabled": True}}}, "ingest.ingress.hosts"),
    ({"ingest": {"httpRoute": {"enabled": True}}}, "ingest.httpRoute.parentRefs"),
    ({"ingest": {"replica": 3}}, "replica"),
    ({"ingest": {"settings": {"drain_s": 3}}}, "drain_s"),
    ({"settings": {"max_body_bytes": "much"}}, "max_body_bytes"),
    ({"settings": {"ack_deadline": 3}}, "ack_deadline"),
    ({"settings": {"group_instance_id": "a"}}, "group_instance_id"),
    ({"processors": {"crm": {"handlers": ""}}}, "processors.crm.handlers: name them"),
    ({"processors": {"crm": {"handlers": "shop/crm.py"}}}, "handlers"),
    ({"processors": {"crm": {"tmpSize": "much"}}}, "tmpSize"),
    ({"processors": {"CRM": {"handlers": "a:b"}}}, "CRM"),
    ({"processors": {"ingest": {"handlers": "a:b"}}}, "ingest"),
    ({"processors": {"crm": {"replicas": 13}}}, "13 pods of 1 processes are more than the 12 partitions"),
    ({"processors": {"crm": {"replicas": 4, "processes": 4}}}, "4 pods of 4 processes"),
    ({"processors": {"crm": {"autoscaling": {"type": "hpa", "maxReplicas": 20}}}}, "autoscaling.maxReplicas: 20 pods"),
    ({"processors": {"crm": {"autoscaling": {"type": "hpa", "minReplicas": 6}}}}, "can't be more than maxReplicas"),
    ({"processors": {"crm": {"autoscaling": {"type": "both"}}}}, "type"),
    ({"processors": {"crm": {"autoscaling": {"type": "keda"}}}}, "prometheus.serverAddress: name your Prometheus"),
    ({"processors": {"crm": {"terminationGracePeriodSeconds": 39}}}, "39 is too short; a stop takes up to 40 s"),
    ({"processorDefaults": {"drainSeconds": 100, "terminationGracePeriodSeconds": 90}}, "up to 115 s"),
    ({"commonLabels": {"app.kubernetes.io/name": "mine"}}, "invalid propertyName"),
    ({"image": {"digest": "sha256:abc"}}, "digest"),
    ({"image": {"tag": "a b"}}, "tag"),
]


@pytest.mark.parametrize(
    ("values", "sentence"), REFUSED, ids=lambda one: json.dumps(one) if isinstance(one, dict) else ""
)
def test_what_can_not_work_is_refused_with_a_sentence(values: Mapping[str, Any], sentence: str) -> None:
    assert sentence in refusal(values, over=MINIMAL)


def test_a_release_of_nothing_is_refused() -> None:
    assert "there would be nothing" in refusal(
        {"ingest": {"enabled": False}}, over=CHART / "ci" / "ingest-only-values.yaml"
    )


def test_all_faults_are_told_at_once() -> None:
    told = refusal(
        {"auth": {"policies": []}, "kafka": {"brokers": []}, "processors": {"crm": {"replicas": 99}}}, over=MINIMAL
    )

    assert "auth.policies" in told
    assert "kafka.brokers" in told
    assert "99 pods" in told


def test_a_processor_s_false_and_nothing_win_over_the_defaults() -> None:
    crm = {"podDisruptionBudget": {"enabled": False}, "minReadySeconds": 0, "group": ""}
    defaults = {"podDisruptionBudget": {"enabled": True}, "minReadySeconds": 7, "group": "mine"}

    text = rendered([MINIMAL, {"processors": {"crm": crm}, "processorDefaults": defaults}])

    found = [one for one in yaml.safe_load_all(text) if one]
    [deployment] = [one for one in found if one["kind"] == "Deployment"]
    assert deployment["spec"]["minReadySeconds"] == 0
    assert [one["metadata"]["name"] for one in found if one["kind"] == "PodDisruptionBudget"] == ["app-forebay-ingest"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "FOREBAY_GROUP", "value": "forebay-crm"} in container["env"]
