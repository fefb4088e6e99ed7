"""The chart on a real Kubernetes, which takes pods only as Pod Security "restricted" wants them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .chart import CHART, CI, named, objects, rendered
from .cluster import Kubernetes, Object
from .toolbox import tool

pytestmark = pytest.mark.timeout(900)

MINIMAL = CHART / "ci" / "minimal-values.yaml"

#: A machine that does other things beside needs it.
TIMEOUT = "300s"

COMPONENT = "app.kubernetes.io/component"

#: What Kubernetes says where Pod Security would refuse a pod: an install would wait to its end otherwise.
VIOLATION = "would violate PodSecurity"


class Release:
    """A release in a namespace of its own."""

    def __init__(self, cluster: Kubernetes, helm: str = "helm") -> None:
        self.cluster, self.namespace, self._helm = cluster, cluster.namespace(), tool(helm)

    def helm(self, *arguments: object, given: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run Helm on it."""
        where = ["--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.namespace]
        done = subprocess.run(
            [self._helm, *map(str, arguments), *where],
            input=given,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert VIOLATION not in done.stderr, done.stderr
        assert done.returncode == 0 or not check, f"{arguments}\n{done.stdout}{done.stderr}\n{self.events()}"
        return done

    def install(self, values: Path) -> None:
        """Install it, and wait until everything says that it is ready."""
        self.helm("install", "app", CHART, "--values", values, "--wait", "--timeout", TIMEOUT)

    def upgrade(
        self, values: Path, over: dict[str, Any] | None = None, *options: str, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Upgrade it, and wait."""
        text = yaml.safe_dump(over or {})
        waiting = ("--wait", "--timeout", TIMEOUT) if "--timeout" not in options else ("--wait",)
        return self.helm(
            "upgrade", "app", CHART, "--values", values, "--values", "-", *waiting, *options, given=text, check=check
        )

    def found(self, group: str, kind: str) -> list[Object]:
        """The namespace's objects of a kind."""
        return self.cluster.list(f"/{group}/namespaces/{self.namespace}/{kind}")

    def get(self, group: str, kind: str, name: str) -> Object:
        """One of them."""
        return self.cluster.get(f"/{group}/namespaces/{self.namespace}/{kind}/{name}")

    def events(self) -> str:
        """What Kubernetes says went wrong, and which pods there are."""
        warned = [one for one in self.found("api/v1", "events") if one["type"] == "Warning"]
        pods = [(one["metadata"], one["spec"].get("nodeName")) for one in self.found("api/v1", "pods")]
        return "\n".join(
            [f"{one['involvedObject']['name']}: {one['message']}" for one in warned]
            + [f"{one['name']} {one['labels']} on {node}, to go: {one.get('deletionTimestamp')}" for one, node in pods]
        )

    def claims(self) -> list[tuple[str, str]]:
        """The volumes that pods asked for, and which each got."""
        return [
            (one["metadata"]["name"], one["spec"]["volumeName"])
            for one in self.found("api/v1", "persistentvolumeclaims")
        ]

    def workloads(self) -> list[Object]:
        """What makes the pods that stay."""
        return self.found("apis/apps/v1", "deployments") + self.found("apis/apps/v1", "statefulsets")

    def is_complete(self) -> bool:
        """Whether as many pods are ready as there should be, and no autoscaler is about to want more."""
        scalers = self.found("apis/autoscaling/v2", "horizontalpodautoscalers")
        least = {one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"] for one in scalers}
        return all(
            one["status"].get("readyReplicas") == one["spec"]["replicas"] >= least.get(one["metadata"]["name"], 1)
            for one in self.workloads()
        )

    def generations(self) -> dict[str, int]:
        """How often each workload was changed."""
        return {one["metadata"]["name"]: one["metadata"]["generation"] for one in self.workloads()}


def expected(values: Path, kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in objects(rendered([values])) if one["kind"] == kind}


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_every_set_of_values_is_installed_upgraded_rolled_back_and_taken_away(
    values: Path, cluster: Kubernetes
) -> None:
    release = Release(cluster)

    release.install(values)

    release.cluster.wait("all pods", release.is_complete)
    scalers = {one["metadata"]["name"] for one in release.found("apis/autoscaling/v2", "horizontalpodautoscalers")}
    budgets = {one["metadata"]["name"] for one in release.found("apis/policy/v1", "poddisruptionbudgets")}
    assert scalers == expected(values, "HorizontalPodAutoscaler")
    assert budgets == expected(values, "PodDisruptionBudget")
    claims = release.claims()

    before = release.generations()
    release.upgrade(values)
    assert release.generations() == before

    release.upgrade(values, {"settings": {"max_fields": 4000}})
    assert all(now > before[name] for name, now in release.generations().items())
    release.helm("rollback", "app", "1", "--wait", "--timeout", TIMEOUT)
    release.helm("uninstall", "app", "--wait", "--timeout", TIMEOUT)

    assert release.workloads() == []
    assert release.claims() == claims
    kept = release.found("apis/kafka.strimzi.io/v1", "kafkatopics")
    assert {one["spec"]["topicName"] for one in kept} == {
        one["spec"]["topicName"] for one in objects(rendered([values])) if one["kind"] == "KafkaTopic"
    }


def test_helm_3_installs_and_upgrades_it_too(cluster: Kubernetes) -> None:
    release = Release(cluster, "helm3")

    release.install(MINIMAL)
    before = release.generations()
    release.upgrade(MINIMAL)

    assert release.generations() == before


def test_the_test_hook_is_a_pod_that_kubernetes_takes(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)

    release.helm("test", "app", "--timeout", TIMEOUT)

    assert release.get("api/v1", "pods", "app-forebay-test")["status"]["phase"] == "Succeeded"


def test_a_version_that_never_gets_ready_is_rolled_back(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)
    broken = {"ingest": {"podAnnotations": {"test/never-ready": "1"}}}

    done = release.upgrade(MINIMAL, broken, "--rollback-on-failure", "--timeout", "20s", check=False)

    assert done.returncode != 0
    found = release.get("apis/apps/v1", "statefulsets", "app-forebay-ingest")
    assert "annotations" not in found["spec"]["template"]["metadata"]


def test_one_pod_of_the_ingest_may_go_at_a_time(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)
    release.cluster.wait("the budget", lambda: _may_go(release) == 1)

    # The first must not be replaced before the second is to go: whoever isn't ready counts as gone.
    with _staying(release, "app-forebay-ingest-0"):
        statuses = [_evicted(release, f"app-forebay-ingest-{number}") for number in range(2)]

    assert statuses == [201, 429]


def _may_go(release: Release) -> int:
    """So many pods may go now: it is counted a moment after they are ready."""
    budget = release.get("apis/policy/v1", "poddisruptionbudgets", "app-forebay-ingest")
    return int(budget["status"].get("disruptionsAllowed", 0))


def _pod(release: Release, name: str) -> str:
    return f"/api/v1/namespaces/{release.namespace}/pods/{name}"


@contextmanager
def _staying(release: Release, pod: str) -> Iterator[None]:
    """Who makes it go sees it going until the end."""

    def let(finalizers: list[str] | None) -> None:
        release.cluster.client.patch(
            _pod(release, pod),
            json={"metadata": {"finalizers": finalizers}},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()

    let(["forebay.example/stays"])
    yield
    let(None)


def _evicted(release: Release, pod: str) -> int:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    return release.cluster.client.post(f"{_pod(release, pod)}/eviction", json=eviction).status_code


def test_scaling_in_keeps_the_spool_and_scaling_out_finds_it_again(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)
    before = dict(release.claims())

    release.upgrade(MINIMAL, {"ingest": {"replicas": 1}})
    meanwhile = dict(release.claims())
    release.upgrade(MINIMAL)

    assert meanwhile == before == dict(release.claims())
    assert set(before) == {"data-app-forebay-ingest-0", "data-app-forebay-ingest-1"}


def test_what_is_fixed_of_the_spool_s_volumes_is_refused_before_anything_is_changed(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)
    before = release.generations()

    for name, value in (
        ("size", "8Gi"),
        ("mode", "ephemeral"),
        ("storageClassName", "fast"),
        ("accessModes", ["ReadWriteOncePod"]),
        ("annotations", {"a": "b"}),
    ):
        over = {"ingest": {"spool": {name: value}}, "settings": {"max_fields": 4000}}
        done = release.upgrade(MINIMAL, over, check=False)

        assert done.returncode != 0
        assert f"ingest.spool.{name}: an upgrade can't change it" in done.stderr
        assert "delete statefulset app-forebay-ingest --cascade=orphan" in done.stderr
    assert release.generations() == before


def test_a_larger_spool_is_taken_when_the_set_was_let_go_of_its_pods_and_they_stay(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)
    before = _pods_of_the_ingest(release)

    path = f"/apis/apps/v1/namespaces/{release.namespace}/statefulsets/app-forebay-ingest"
    cluster.client.delete(path, params={"propagationPolicy": "Orphan"}).raise_for_status()
    cluster.wait("the set to go", lambda: cluster.client.get(path).status_code == 404)
    release.upgrade(MINIMAL, {"ingest": {"spool": {"size": "8Gi"}}})

    # The same size in another unit is the same.
    release.upgrade(MINIMAL, {"ingest": {"spool": {"size": "8192Mi"}}})
    assert _pods_of_the_ingest(release) == before


def _pods_of_the_ingest(release: Release) -> set[str]:
    pods = release.found("api/v1", "pods")
    return {one["metadata"]["uid"] for one in pods if one["metadata"]["labels"][COMPONENT] == "ingest"}


def test_an_autoscaler_that_is_switched_on_starts_from_a_number_that_it_may_have(cluster: Kubernetes) -> None:
    release = Release(cluster)
    release.install(MINIMAL)

    release.upgrade(MINIMAL, {"ingest": {"autoscaling": {"type": "hpa", "minReplicas": 2}}})

    scaler = release.get("apis/autoscaling/v2", "horizontalpodautoscalers", "app-forebay-ingest")
    workload = release.get("apis/apps/v1", "statefulsets", "app-forebay-ingest")
    assert scaler["spec"]["minReplicas"] == 2
    # Whoever no longer says how many gets one, until the autoscaler looks: docs/kubernetes.md says so.
    assert workload["spec"]["replicas"] in (1, 2)


def test_another_number_of_partitions_is_refused_where_strimzi_has_the_topics(cluster: Kubernetes) -> None:
    release = Release(cluster)
    values = CHART / "ci" / "strimzi-values.yaml"
    release.install(values)

    done = release.upgrade(values, {"queue": {"partitions": 24}}, check=False)

    assert done.returncode != 0
    assert "topic bitrix24.events has 12 partitions, not 24" in done.stderr


def test_an_unknown_field_does_not_get_past_the_server(cluster: Kubernetes) -> None:
    one = named(objects(rendered([MINIMAL])), "Deployment", "app-forebay-crm")
    one["metadata"]["namespace"] = namespace = cluster.namespace()
    one["spec"]["template"]["spec"]["terminationGracePeriod"] = 3

    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    made = cluster.client.post(path, json=one, params={"fieldValidation": "Strict"})

    assert made.status_code == 400
    assert "unknown field" in made.text
