"""Dockerfile and compose.yaml, without a container engine: linted, and what can be run of them is run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.console.settings import load_settings
from tests.kafka.cluster import Cluster, Node
from tests.missing import NotHere, missing
from tests.ports import free_ports

from .chart import ROOT, Object
from .image import DOCKERFILE, built, steps
from .pods import PYTHON, Machine, Pod, folder_for, needed
from .toolbox import run

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
OURS = [name for name, one in SERVICES.items() if one["image"].startswith("forebay:")]


def test_hadolint_finds_nothing() -> None:
    run("hadolint", ROOT / "Dockerfile")


def test_the_image_runs_as_nobody_under_an_init_and_every_command_by_one_entry() -> None:
    last = dict(steps(1))

    assert last["USER"] == "10001:10001"
    assert last["ENTRYPOINT"] == '["tini", "--", "forebay"]'
    assert last["HEALTHCHECK"] == "NONE"
    assert "org.opencontainers.image.version" in last["LABEL"]


def test_the_image_s_user_and_version_are_those_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text("utf-8"))
    chart = yaml.safe_load((ROOT / "helm" / "Chart.yaml").read_text("utf-8"))

    assert values["podSecurityContext"]["runAsUser"] == 10001
    assert f"ARG VERSION={chart['appVersion']}" in DOCKERFILE
    assert {SERVICES[name]["image"] for name in OURS} == {f"forebay:{chart['appVersion']}"}


def test_what_the_image_copies_is_what_docker_is_let_see() -> None:
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}

    copied = [word for kind, rest in steps(0) if kind == "COPY" for word in rest.split()[:-1]]

    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert any(Path(name).match(pattern) for pattern in let), name


@pytest.mark.parametrize("name", OURS)
def test_a_service_of_ours_can_write_nowhere_but_to_its_volumes(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_no_port_is_open_to_others_than_this_machine_and_what_is_mounted_is_there() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
        assert re.search(r":v?\d", service["image"]), "an image without a version"


@pytest.mark.parametrize("name", OURS)
def test_forebay_reads_the_variables_of_a_service(name: str) -> None:
    settings = load_settings(environ=SERVICES[name]["environment"]).settings

    assert settings.queue_url == "kafka://kafka:9092"
    # A stop takes its grace and fifteen seconds.
    grace = SERVICES[name].get("stop_grace_period")
    assert grace is None or int(grace.removesuffix("s")) >= settings.drain_s + 15


def test_prometheus_asks_where_the_services_answer() -> None:
    asked = yaml.safe_load((ROOT / "compose" / "prometheus.yml").read_text("utf-8"))

    targets = [target for one in asked["scrape_configs"][0]["static_configs"] for target in one["targets"]]
    binds = {
        f"{name}:{SERVICES[name]['environment']['FOREBAY_METRICS_BIND'].rpartition(':')[2]}"
        for name in OURS
        if "FOREBAY_METRICS_BIND" in SERVICES[name]["environment"]
    }
    assert set(targets) == binds


class ComposedNode(Node):
    """The broker of compose.yaml, at ports and in a folder of this test's."""

    def properties(self, values: Mapping[str, object]) -> str:
        """As the image of Kafka reads them: KAFKA_NODE_ID is node.id."""
        lines = []
        for name, value in SERVICES["kafka"]["environment"].items():
            here = value.replace("//:", "//127.0.0.1:").replace("kafka:", "127.0.0.1:")
            here = here.replace(":9092", f":{self.port}").replace(":9093", f":{self.controller_port}")
            here = here.replace("/var/lib/kafka/data", str(self.folder / "log"))
            lines.append(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={here}")
        return "\n".join(lines)


def pod_of_service(name: str, bootstrap: str, ports: Mapping[str, int]) -> Object:
    """The service as a pod: the same command and variables, at addresses of this machine."""
    environ = {**SERVICES[name]["environment"], "FOREBAY_QUEUE_URL": f"kafka://{bootstrap}", "HOME": "/tmp"}  # noqa: S108 - the image's
    environ.setdefault("FOREBAY_DATA_DIR", "/var/lib/forebay")
    environ |= {f"FOREBAY_{bind}": f"127.0.0.1:{port}" for bind, port in ports.items()}
    command = [PYTHON, "/opt/venv/bin/forebay"]
    asks = {
        "httpGet": {"path": "/ready", "port": "metrics"},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
        "failureThreshold": 60,
    }
    return {
        "spec": {
            "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001},
            "terminationGracePeriodSeconds": 40,
            "volumes": [{"name": "tmp"}, {"name": "data"}],
            "containers": [
                {
                    "command": command,
                    "args": SERVICES[name]["command"],
                    "env": [{"name": key, "value": value} for key, value in environ.items()],
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the image's
                        {"name": "data", "mountPath": "/var/lib/forebay"},
                    ],
                    "ports": [{"name": "metrics", "containerPort": ports.get("METRICS_BIND", 0)}],
                    **{probe: asks for probe in ("startupProbe", "readinessProbe", "livenessProbe")},
                }
            ],
        }
    }


@pytest.mark.kafka
@pytest.mark.timeout(900)
async def test_what_the_dockerfile_builds_runs_what_compose_starts(tmp_path: Path) -> None:
    needed()
    (folder := tmp_path / "image").mkdir()
    machine = Machine(folder=tmp_path, venv=built(folder), repo=None)
    door, *metrics = free_ports(3)
    try:
        cluster = Cluster(tmp_path / "kafka", [ComposedNode(1, tmp_path / "kafka" / "node")])
        with cluster:
            topics = Pod("topics", pod_of_service("topics", cluster.bootstrap, {}), machine)
            binds = {"BIND": door, "METRICS_BIND": metrics[0]}
            spool = {"data": folder_for(tmp_path / "spool")}
            ingest = Pod("ingest", pod_of_service("ingest", cluster.bootstrap, binds), machine, spool)
            worker = {"METRICS_BIND": metrics[1]}
            processors = Pod("processors", pod_of_service("processors", cluster.bootstrap, worker), machine)
            try:
                topics.start()
                assert topics.end() == 0, topics.log
                for pod in (ingest, processors):
                    pod.start()
                    await pod.ready()
                # As the first lines of compose.yaml show it.
                said = ingest.exec(PYTHON, "/opt/venv/bin/forebay", "send", "--portals", "5", "--count", "50")
                lag = ingest.exec(PYTHON, "/opt/venv/bin/forebay", "lag")
                statuses = [await ingest.stop(), await processors.stop()]
            finally:
                for pod in (topics, ingest, processors):
                    pod.kill()
    except NotHere as reason:
        missing(str(reason))

    assert "50" in said
    assert "partition" in lag
    assert statuses == [0, 0]
    assert processors.log.count("bitrix24.example") >= 50
