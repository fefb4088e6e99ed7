"""A rolling update under load, with the chart's own probes, hooks and graces, as a cluster carries it out."""

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.test_balancers import NGINX, is_open
from tests.kafka.fixtures import Kafka
from tests.missing import missing
from tests.order import HANDLERS, Book, judge
from tests.ports import free_ports
from tests.processes import dying_with_us

from .calling import Callers
from .chart import Object, named, objects, pod_of, rendered
from .pods import Machine, Pod, folder_for, needed
from .toolbox import tool

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

TOKEN = "0123456789abcdef0123456789abcdef"
PORTALS, PAUSE_S = 64, 0.3


class Controller:
    """As ingress-nginx with the chart's annotations: it sends to the ready ones, and is told when they change."""

    def __init__(self, folder: Path, port: int, annotations: Object) -> None:
        self.folder, self.port, self._annotations = folder, port, annotations
        self._process: subprocess.Popen[bytes] | None = None
        self._told: tuple[int, ...] = ()

    def tell(self, ports: Sequence[int]) -> None:
        """Send to these from now on."""
        if tuple(ports) == self._told:
            return
        self._told = tuple(ports)
        prefix = "nginx.ingress.kubernetes.io/"
        asked = {name.removeprefix(prefix): value for name, value in self._annotations.items()}
        servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;" for port in ports)
        upstream = f"hash {asked['upstream-hash-by']} consistent; {servers} keepalive 64;"
        location = (
            'proxy_pass http://forebay; proxy_http_version 1.1; proxy_set_header Connection "";'
            f"proxy_connect_timeout {asked['proxy-connect-timeout']}s;"
            f"proxy_next_upstream {asked['proxy-next-upstream']};"
            f"proxy_next_upstream_tries {asked['proxy-next-upstream-tries']};"
        )
        server = f"listen 127.0.0.1:{self.port}; location /bitrix24 {{ {location} }}"
        shown = f"upstream forebay {{ {upstream} }} server {{ {server} }}"
        (self.folder / "configuration").write_text(NGINX.format(folder=self.folder, shown=shown))
        if self._process:
            self._process.send_signal(signal.SIGHUP)

    def start(self) -> None:
        """Start it; it must have been told of somebody."""
        path = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if path is None:
            missing("nginx is not installed")
        command = [path, "-p", str(self.folder), "-c", str(self.folder / "configuration")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*dying_with_us(), *command], stderr=log)
        while not is_open(self.port):
            assert self._process.poll() is None, (self.folder / "log").read_text()

    def stop(self) -> None:
        """In order: its workers would stay otherwise."""
        if self._process:
            self._process.terminate()
            self._process.wait()


def values(bootstrap: str, topic: str, port: int, metrics: int, worker: int) -> dict[str, Any]:
    """Two of each, as the chart has them by default; what differs between two pods of one kind are the ports."""
    return {
        "queue": {"topic": topic, "partitions": 6},
        "kafka": {"brokers": [bootstrap]},
        "auth": {"policies": ["tokens"], "tokens": {"existingSecret": "portals"}},
        "ingest": {
            "port": port,
            "metricsPort": metrics,
            "ingress": {"enabled": True, "hashByUri": "nginx", "hosts": ["events.example.com"]},
        },
        "processors": {
            "crm": {
                "handlers": "shop:handlers",
                "replicas": 2,
                "metricsPort": worker,
                "extraEnv": [{"name": "BOOK", "value": "/book/handled.log"}],
                "extraVolumes": [{"name": "book", "persistentVolumeClaim": {"claimName": "book"}}],
                "extraVolumeMounts": [{"name": "book", "mountPath": "/book"}],
            }
        },
    }


def made(found: Sequence[Object], kind: str, name: str) -> Object:
    pod = pod_of(named(found, kind, name))
    assert pod is not None
    return pod


async def rolled(pods: Sequence[Pod], least_s: float) -> list[int]:
    """Restart one after the other, the last one first as a StatefulSet does; the exit statuses."""
    statuses = []
    for pod in reversed(pods):
        statuses.append(await pod.stop())
        pod.start()
        await pod.ready()
        # What the controller calls available.
        await asyncio.sleep(least_s)
    return statuses


async def test_a_rolling_update_under_load_loses_nothing_and_refuses_nobody(kafka: Kafka, tmp_path: Path) -> None:
    needed()
    tool("helm")
    topic = f"events-{uuid4().hex[:8]}"
    ports = free_ports(7)
    renderings = [objects(rendered([values(kafka.bootstrap, topic, *one)])) for one in (ports[:3], ports[3:6])]
    (app := tmp_path / "app").mkdir()
    (app / "shop.py").write_text(HANDLERS)
    book = Book(folder_for(tmp_path / "book") / "handled.log")
    machine = Machine(folder=tmp_path, app=app, secrets={"portals": {"tokens.json": json.dumps({"*": TOKEN})}})
    topics = Pod("topics", made(renderings[0], "Job", "app-forebay-topics"), machine)
    ingests = [
        Pod(
            f"ingest-{number}",
            made(found, "StatefulSet", "app-forebay-ingest"),
            machine,
            {"data": tmp_path / f"data-{number}"},
        )
        for number, found in enumerate(renderings)
    ]
    workers = [
        Pod(f"crm-{number}", made(found, "Deployment", "app-forebay-crm"), machine, {"book": tmp_path / "book"})
        for number, found in enumerate(renderings)
    ]
    (folder := tmp_path / "nginx").mkdir()
    annotations = named(renderings[0], "Ingress", "app-forebay-ingest")["metadata"]["annotations"]
    controller = Controller(folder, ports[6], annotations)
    least_s = named(renderings[0], "StatefulSet", "app-forebay-ingest")["spec"]["minReadySeconds"]

    async def balanced() -> None:
        while True:
            controller.tell([port for pod, port in zip(ingests, (ports[0], ports[3]), strict=True) if pod.is_ready])
            await asyncio.sleep(0.1)

    callers = Callers(f"http://127.0.0.1:{ports[6]}/bitrix24", PORTALS, token=TOKEN, pause_s=PAUSE_S)
    balancing: asyncio.Task[None] | None = None
    try:
        topics.start()
        assert topics.end() == 0, topics.log
        for pod in (*ingests, *workers):
            pod.start()
        await asyncio.gather(*(pod.ready() for pod in (*ingests, *workers)))
        controller.tell([ports[0], ports[3]])
        controller.start()
        balancing = asyncio.create_task(balanced())
        async with asyncio.TaskGroup() as calling:
            calling.create_task(callers.run())
            await callers.answered(PORTALS * 3)
            statuses = await rolled(ingests, least_s)
            await callers.answered(PORTALS)
            statuses += await rolled(workers, least_s)
            await callers.answered(PORTALS)
            callers.stop()
        kept = {event for events in callers.kept.values() for event in events}
        while not book.read().ended >= kept:
            await asyncio.sleep(0.1)
    finally:
        if balancing:
            balancing.cancel()
        controller.stop()
        for pod in (topics, *ingests, *workers):
            pod.kill()

    verdict = judge(callers.kept, book.lines)
    print(dict(callers.answers), f"came again: {len(verdict.again)}")
    assert statuses == [0, 0, 0, 0]
    assert [fault for pod in (*ingests, *workers) for fault in pod.faults] == []
    assert set(callers.answers) == {"200 accepted"}
    assert not (verdict.lost or verdict.out_of_order or verdict.at_once), verdict
