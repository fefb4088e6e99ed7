"""A real Kubernetes on the loopback: etcd, API server, controllers, scheduler, and nodes that only say they run."""

import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import httpx
import yaml

from tests.ports import free_ports
from tests.processes import dying_with_us

from .toolbox import tool

_HERE = Path(__file__).parent
CRDS = _HERE / "crds"

#: It is there within 4 to 7 s; on a busy machine several times that.
_READY_S = 120.0
_LOOK_EVERY_S = 0.1

#: A free port may be another's before it is ours.
_ATTEMPTS = 3

#: Enough for every ingest of a run, as a volume that was used is not free again.
_VOLUMES = 60
_ZONES = ("a", "b")

Object = dict[str, Any]


class Ended(Exception):
    """A process ended by itself; at the start mostly since somebody else took its port in between."""


class Kubernetes:
    """One cluster, ready when the `with` begins."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="forebay-kubernetes-"))
        self.kubeconfig = self.folder / "kubeconfig"
        self._etcd, self._peers, self._port = free_ports(3)
        self._token = secrets.token_hex(16)
        self._running: list[subprocess.Popen[bytes]] = []
        #: Calls of the API server, as an administrator.
        self.client = httpx.Client()

    def __enter__(self) -> "Kubernetes":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all of it, and take its files away. Idempotent."""
        self.client.close()
        # In order it would take ten seconds, and nothing of it is kept.
        while self._running:
            process = self._running.pop()
            process.kill()
            process.wait()
        rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self._write_files()
        etcd, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd, self._peers))
        self._run(
            *("etcd", "--name", "one", "--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers),
            *("--initial-advertise-peer-urls", peers, "--initial-cluster", f"one={peers}"),
        )
        key = self.folder / "account"
        self._run(
            *("kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={self._port}"),
            *("--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--cert-dir={self.folder / 'pki'}"),
            *("--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC"),
            *(f"--token-auth-file={self.folder / 'tokens'}", f"--service-account-key-file={key}.pub"),
            *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-signing-key-file={key}"),
        )
        self.wait("the API server", lambda: self._certificate().exists() and self._asks("/readyz"))
        self.client.close()
        self.client = self._client()
        self._run(
            *("kube-controller-manager", f"--kubeconfig={self.kubeconfig}", "--secure-port=0", "--leader-elect=false"),
            *(f"--service-account-private-key-file={key}", f"--root-ca-file={self._certificate()}"),
            # No kubelet says again and again that its node is well.
            "--node-monitor-grace-period=24h",
        )
        self._run("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--secure-port=0", "--leader-elect=false")
        stages = str(_HERE / "stages.yaml")
        self._run("kwok", "--kubeconfig", str(self.kubeconfig), "--config", stages, "--manage-all-nodes=true")
        self._furnish()

    def _write_files(self) -> None:
        key = str(self.folder / "account")
        for command in (["genrsa", "-out", key, "2048"], ["rsa", "-in", key, "-pubout", "-out", f"{key}.pub"]):
            subprocess.run(["openssl", *command], check=True, capture_output=True)
        (self.folder / "tokens").write_text(f"{self._token},tests,tests,system:masters\n")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "one", "cluster": {"server": self.url, "certificate-authority": str(self._certificate())}}
            ],
            "users": [{"name": "tests", "user": {"token": self._token}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "tests"}}],
            "current-context": "one",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://127.0.0.1:{self._port}"

    def _certificate(self) -> Path:
        # It signs its own.
        return self.folder / "pki" / "apiserver.crt"

    def _client(self) -> httpx.Client:
        import ssl

        trusting = ssl.create_default_context(cafile=str(self._certificate()))
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self._token}"}, verify=trusting, timeout=30
        )

    def _asks(self, path: str) -> bool:
        try:
            with self._client() as client:
                return client.get(path).status_code == 200
        except httpx.HTTPError:
            return False

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [*dying_with_us(), tool(name), *arguments]
            self._running.append(
                subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, start_new_session=True)
            )

    def _furnish(self) -> None:
        """Nodes, volumes, and the kinds of others that the chart makes objects of."""
        for zone in _ZONES:
            self.create("/api/v1/nodes", _node(zone))
        for number in range(_VOLUMES):
            self.create("/api/v1/persistentvolumes", _volume(number))
        for kind in custom_kinds():
            self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind)
        self.wait("the kinds of others", self._are_established)
        self.wait("the nodes", lambda: all(map(_is_ready, self.list("/api/v1/nodes"))))

    def _are_established(self) -> bool:
        kinds = self.list("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        return all(
            any(
                one["type"] == "Established" and one["status"] == "True"
                for one in kind["status"].get("conditions") or ()
            )
            for kind in kinds
        )

    def list(self, path: str) -> list[Object]:
        """What is there."""
        # The first who asks for a kind of others may come before its storage is there, and is told to come again.
        while (found := self.client.get(path)).status_code == httpx.codes.TOO_MANY_REQUESTS:
            time.sleep(_LOOK_EVERY_S)
        assert found.status_code == 200, found.text
        items: list[Object] = found.json()["items"]
        return items

    def get(self, path: str) -> Object:
        """One object."""
        found = self.client.get(path)
        assert found.status_code == 200, found.text
        content: Object = found.json()
        return content

    def create(self, path: str, content: Mapping[str, Any]) -> None:
        """Make an object, none of whose fields may be unknown."""
        made = self.client.post(path, json=content, params={"fieldValidation": "Strict"})
        assert made.status_code == 201, made.text

    def namespace(self) -> str:
        """A new one, which takes no pod that isn't as Pod Security "restricted" wants it."""
        name = f"test-{uuid4().hex[:8]}"
        labels = {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
        }
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        return name

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        """Look again and again until it is so."""
        for _ in range(round(_READY_S / _LOOK_EVERY_S)):
            if ended := [process for process in self._running if process.poll() is not None]:
                raise Ended(f"{ended[0].args!r}\n{self.logs()}")
            if until():
                return
            time.sleep(_LOOK_EVERY_S)
        raise AssertionError(f"{what} did not come within {_READY_S} s\n{self.logs()}")

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text('utf-8', 'replace')[-2000:]}" for path in self.folder.glob("*.log")
        )


def custom_kinds() -> Iterator[Object]:
    """The definitions of kinds that are not Kubernetes' own."""
    for path in sorted(CRDS.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text("utf-8"))


def _is_ready(node: Object) -> bool:
    conditions: Iterable[Object] = node["status"].get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _node(zone: str) -> Object:
    room = {"cpu": "64", "memory": "256Gi", "pods": "250"}
    labels = {
        "kubernetes.io/hostname": f"node-{zone}",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": zone,
    }
    return {"metadata": {"name": f"node-{zone}", "labels": labels}, "status": {"capacity": room, "allocatable": room}}


def _volume(number: int) -> Object:
    return {
        "metadata": {"name": f"volume-{number}"},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"},
        },
    }


@contextmanager
def kubernetes() -> Iterator[Kubernetes]:
    """One, up and furnished."""
    with ExitStack() as running:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                made = running.enter_context(Kubernetes())
                break
            except Ended:
                if attempt == _ATTEMPTS:
                    raise
        yield made
