"""What the chart renders is what Kubernetes takes, and holds what it promises."""

import re
from pathlib import Path

import pytest
import yaml

from forebay.queues.kafka.layout import IN_SYNC, config_for, config_for_facts
from forebay.schemas.names import portals, streams

from .chart import CHART, CI, EXAMPLES, KUBE_VERSION, Object, named, objects, of_kind, pod_of, rendered
from .kube_schemas import VERSIONS, faults_of
from .toolbox import run

ALL = [*CI, *EXAMPLES]

#: A release of this name shows every place where a name isn't quoted: YAML reads it as true.
RELEASES = ("app", "y")

VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"]

FULL = CHART / "ci" / "full-values.yaml"


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("values", ALL, ids=name_of)
@pytest.mark.parametrize("helm", ["helm", "helm3"])
def test_helm_finds_nothing_to_complain_of(values: Path, helm: str) -> None:
    run(helm, "lint", "--strict", *KUBE_VERSION, CHART, "--values", values)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("values", ALL, ids=name_of)
def test_three_versions_of_kubernetes_know_every_field(values: Path, release: str, custom_schemas: Path) -> None:
    text = rendered([values], release=release)

    for version in VERSIONS:
        assert faults_of(text, version, custom_schemas) == ""


@pytest.mark.parametrize("values", CI, ids=name_of)
def test_both_helms_render_the_same(values: Path) -> None:
    def sorted_objects(helm: str) -> list[Object]:
        return sorted(objects(rendered([values], helm=helm)), key=lambda one: (one["kind"], one["metadata"]["name"]))

    assert sorted_objects("helm") == sorted_objects("helm3")


#: What kube-score calls critical, and is as it is for a reason.
IGNORED = (
    # A limit of CPU makes answers late while cores are idle.
    "--ignore-container-cpu-limit",
    # The disk has the few files of /tmp, whose volume has a limit of its own.
    *("--ignore-test", "container-ephemeral-storage-request-and-limit"),
    # A version is never built twice; where a tag moves, image.pullPolicy and image.digest are there.
    *("--ignore-test", "container-image-pull-policy"),
    # networkPolicy.enabled is the operator's choice: not every cluster's network knows policies.
    *("--ignore-test", "pod-networkpolicy"),
    # It looks at no Job's pods; a test below looks at all of them.
    *("--ignore-test", "networkpolicy-targets-pod"),
    # podDisruptionBudget.enabled is false in one of the sets, to see that it can be.
    *("--ignore-test", "deployment-has-poddisruptionbudget"),
)


@pytest.mark.parametrize("values", ALL, ids=name_of)
def test_what_kube_score_calls_critical_has_a_reason(values: Path) -> None:
    text = rendered([values])
    done = run("kube-score", "score", "--output-format", "ci", *IGNORED, "-", given=text, check=False)

    assert not re.findall(r"^\[CRITICAL\].*", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize("values", ALL, ids=name_of)
def test_every_pod_is_as_pod_security_restricted_wants_it_and_has_no_token(values: Path) -> None:
    pods = [pod for one in objects(rendered([values])) if (pod := pod_of(one))]

    for pod in pods:
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("values", EXAMPLES, ids=name_of)
def test_every_image_of_an_example_is_in_the_registry_that_it_names(values: Path) -> None:
    pods = [pod for one in objects(rendered([values])) if (pod := pod_of(one))]
    registry = yaml.safe_load(values.read_text("utf-8"))["image"]["registry"]

    images = {container["image"] for pod in pods for container in pod["spec"]["containers"]}

    # There is no public one: what names no registry is asked for in vain.
    assert images == {f"{registry}/{name}" for name in (f"forebay:{VERSION}", "shop/handlers:1.0")}


@pytest.mark.parametrize("values", ALL, ids=name_of)
def test_no_secret_stands_in_the_objects_and_every_file_that_a_variable_names_is_mounted(values: Path) -> None:
    for one in objects(rendered([values])):
        pod = pod_of(one)
        if pod is None:
            assert one["kind"] != "Secret"
            continue
        projected = [volume["projected"] for volume in pod["spec"]["volumes"] if "projected" in volume]
        files = {item["path"] for one in projected for source in one["sources"] for item in source["secret"]["items"]}
        text = yaml.safe_dump(pod["spec"]["containers"])
        named_files = set(re.findall(r"/etc/forebay/secrets/([\w./-]+)", text))
        assert named_files == files


def test_names_and_selectors_of_components_are_apart() -> None:
    found = objects(rendered([FULL]))

    selectors = [
        tuple(sorted(one["spec"]["selector"]["matchLabels"].items()))
        for kind in ("Deployment", "StatefulSet")
        for one in of_kind(found, kind)
    ]
    assert len(set(selectors)) == len(selectors) == 6
    names = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 for _, name in names)


def test_each_network_policy_is_for_the_pods_of_one_component_and_each_component_has_one() -> None:
    found = objects(rendered([FULL]))
    labels = [pod["metadata"]["labels"] for one in found if (pod := pod_of(one)) and one["kind"] != "Pod"]
    labels += [one["metadata"]["labels"] for one in of_kind(found, "Pod")]

    wanted = [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(found, "NetworkPolicy")]

    for one in labels:
        assert sum(selector.items() <= one.items() for selector in wanted) == 1
    assert len(wanted) == len(labels) == 8


def test_the_longest_names_still_are_names(custom_schemas: Path) -> None:
    processor = {"handlers": "shop:handlers", "replicas": 1}
    values = {"processors": {"a234567890123456789z": processor}, "commonLabels": {"a": "b"}}

    text = rendered([CHART / "ci" / "minimal-values.yaml", values], release="r" + "1234567890" * 5)

    assert all(len(one["metadata"]["name"]) <= 63 for one in objects(text))
    assert faults_of(text, VERSIONS[-1], custom_schemas) == ""


def test_an_autoscaled_workload_has_no_number_of_its_own() -> None:
    found = objects(rendered([FULL]))

    assert "replicas" not in named(found, "StatefulSet", "app-forebay-ingest")["spec"]
    assert "replicas" not in named(found, "Deployment", "app-forebay-crm")["spec"]
    scalers = of_kind(found, "ScaledObject") + of_kind(found, "HorizontalPodAutoscaler")
    assert len({one["spec"]["scaleTargetRef"]["name"] for one in scalers}) == len(scalers) == 4


#: KEDA 2.20: what each trigger's metadata may hold. A misspelt key is taken by every schema, and by KEDA too.
KEDA = {
    "prometheus": {
        *("serverAddress", "query", "threshold", "activationThreshold", "namespace", "ignoreNullValues", "unsafeSsl"),
        *("cortexOrgID", "customHeaders", "queryParameters", "timeout", "authModes"),
    },
    "kafka": {
        *("bootstrapServers", "consumerGroup", "topic", "lagThreshold", "activationLagThreshold", "offsetResetPolicy"),
        *("allowIdleConsumers", "scaleToZeroOnInvalidOffset", "excludePersistentLag", "limitToPartitionsWithLag"),
        *("ensureEvenDistributionOfPartitions", "version", "partitionLimitation", "sasl", "tls", "unsafeSsl"),
    },
}


def test_keda_scales_by_what_is_actionable_and_never_loses_sight_of_the_first_events() -> None:
    found = objects(rendered([FULL]))
    by_seconds = named(found, "ScaledObject", "app-forebay-crm")["spec"]
    by_records = named(found, "ScaledObject", "app-forebay-analytics")["spec"]

    for spec in (by_seconds, by_records):
        [trigger] = spec["triggers"]
        assert set(trigger["metadata"]) <= KEDA[trigger["type"]]
        assert spec["fallback"] == {"failureThreshold": 4, "replicas": spec["maxReplicaCount"]}
        assert spec["minReplicaCount"] >= 1
    assert "forebay_actionable_lag_seconds" in by_seconds["triggers"][0]["metadata"]["query"]
    metadata = by_records["triggers"][0]["metadata"]
    assert metadata["offsetResetPolicy"] == "earliest"
    assert metadata["allowIdleConsumers"] == "false"
    assert metadata["excludePersistentLag"] == "true"
    assert metadata["sasl"] == "scram_sha512"
    assert by_records["triggers"][0]["authenticationRef"] == {"name": "app-forebay-kafka"}


def test_a_query_of_one_processor_finds_no_other_s_pods() -> None:
    found = objects(rendered([FULL]))
    [trigger] = named(found, "ScaledObject", "app-forebay-crm")["spec"]["triggers"]

    pattern = re.search(r'pod=~"(.+?)"', trigger["metadata"]["query"])

    assert pattern is not None
    assert re.fullmatch(pattern[1], "app-forebay-crm-6d5f9c7b8-abc12")
    # As Kubernetes cuts it where the names are long: 58 characters, and five of chance.
    assert re.fullmatch(pattern[1], "app-forebay-crm-6d5f9c7b84abc12")
    assert not re.fullmatch(pattern[1], "app-forebay-crm-more-6d5f9c7b8-abc12")


def test_strimzi_makes_the_topics_that_forebay_would_make() -> None:
    found = of_kind(objects(rendered([CHART / "ci" / "strimzi-values.yaml"])), "KafkaTopic")

    made = {one["spec"]["topicName"]: one for one in found}
    assert set(made) == set(streams("bitrix24.events"))
    for topic, one in made.items():
        asked = config_for(3, takes_events=topic == "bitrix24.events")
        config = {name: str(value) for name, value in one["spec"]["config"].items()}
        assert {name: config[name] for name in asked} == asked
        assert config["min.insync.replicas"] == str(IN_SYNC)
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_where_portals_have_keys_strimzi_makes_the_log_of_what_is_known_of_them() -> None:
    sealed = {"sealing": {"existingSecret": "seal-keys"}}
    found = of_kind(objects(rendered([CHART / "ci" / "strimzi-values.yaml", sealed])), "KafkaTopic")

    made = {one["spec"]["topicName"]: one["spec"] for one in found}
    assert set(made) == {*streams("bitrix24.events"), portals("bitrix24.events")}
    log, asked = made[portals("bitrix24.events")], config_for_facts(3)
    assert log["partitions"] == 1
    assert {name: str(log["config"][name]) for name in asked} == asked


def test_without_processors_or_ingest_only_the_other_side_is_there() -> None:
    ingest = objects(rendered([CHART / "ci" / "ingest-only-values.yaml"]))
    processors = objects(rendered([CHART / "ci" / "processors-only-values.yaml"]))

    assert of_kind(ingest, "Deployment") == []
    assert of_kind(processors, "StatefulSet") == of_kind(processors, "Service") == []


def test_a_volume_is_where_the_spool_is_and_outlives_everything() -> None:
    kept = named(objects(rendered([CHART / "ci" / "minimal-values.yaml"])), "StatefulSet", "app-forebay-ingest")["spec"]
    gone = named(objects(rendered([CHART / "ci" / "strimzi-values.yaml"])), "StatefulSet", "app-forebay-ingest")["spec"]

    assert kept["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    [container] = kept["template"]["spec"]["containers"]
    [data] = [one["value"] for one in container["env"] if one["name"] == "FOREBAY_DATA_DIR"]
    assert {"name": "data", "mountPath": data} in container["volumeMounts"]
    assert "volumeClaimTemplates" not in gone
    assert {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}} in gone["template"]["spec"]["volumes"]


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        # Without a partition a rollout may make pods of the former version and delete them again, for ever.
        ({}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        ({"rollingUpdate": {"partition": 2}}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
        # Kubernetes takes none with it.
        ({"type": "OnDelete"}, {"type": "OnDelete"}),
    ],
)
def test_a_rollout_says_from_which_pod_on(given: Object, becomes: Object) -> None:
    text = rendered([CHART / "ci" / "minimal-values.yaml", {"ingest": {"updateStrategy": given}}])

    made = named(objects(text), "StatefulSet", "app-forebay-ingest")

    assert made["spec"]["updateStrategy"] == becomes


def test_a_startup_is_allowed_the_longer_the_more_its_spool_may_hold() -> None:
    def allowed_s(values: str) -> int:
        spec = named(objects(rendered([CHART / "ci" / values])), "StatefulSet", "app-forebay-ingest")["spec"]
        probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
        return int(probe["periodSeconds"] * probe["failureThreshold"])

    assert allowed_s("minimal-values.yaml") == 190
    assert allowed_s("full-values.yaml") == 575
