"""Runs the containers of rendered pods here, with what matters of a kubelet: volumes, variables, probes and stops.

A container's root can't be written to, and its user is nobody here. Networks are not apart: two pods need two ports.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.missing import missing
from tests.processes import dying_with_us

from .chart import ROOT, Object

#: What the image's ENTRYPOINT starts, but for tini, which passes signals on.
PYTHON = "/opt/venv/bin/python"
ENTRYPOINT = (PYTHON, "-P", "-m", "forebay.console.cli")

_SCRIPT = Path(__file__).with_name("pod_root.sh")

#: What every container has.
_PATH = "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: How long a container that is to end by itself may take on a busy machine.
_END_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where pods find what is not in them."""

    folder: Path
    #: Secret → key → content.
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: Names that lead here, as those of Services do.
    names: Sequence[str] = ()
    #: The user's own files, as they stand in an image made from ours.
    app: Path | None = None
    #: What stands for the image's environment, and where Forebay is when that hasn't it.
    venv: Path = Path(sys.prefix)
    repo: Path | None = ROOT


def needed() -> None:
    """Skip where no root of its own can be made for a container."""
    if os.getuid() != 0:
        missing("a container's read-only root needs mounts of its own: run as root")
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        missing(f"no mount namespace can be made here: {tried.stderr.strip()}")


class Pod:
    """The one container of a pod, from its start to its end. `claims` has a folder for each volume that outlives it."""

    def __init__(self, name: str, pod: Object, machine: Machine, claims: Mapping[str, Path] | None = None) -> None:
        self.name, self.spec = name, pod["spec"]
        [self.container] = self.spec["containers"]
        self.machine, self.claims = machine, claims or {}
        self.folder = machine.folder / name
        self.is_ready = False
        #: Why a kubelet would have restarted it.
        self.faults: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._probing: list[asyncio.Task[None]] = []
        self._lives = 0

    @property
    def log(self) -> str:
        """What all of its lives wrote."""
        return (self.folder / "log").read_text("utf-8", "replace") if self.folder.exists() else ""

    def start(self) -> None:
        """Start the container, with volumes that are new but for the claims."""
        self._lives += 1
        life = self.folder / str(self._lives)
        life.mkdir(parents=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying_with_us(), *self._command(life)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def end(self) -> int:
        """Wait for a container that ends by itself, and return its status."""
        assert self._process is not None
        return self._process.wait(_END_S)

    def kill(self) -> None:
        """End it at once. Idempotent."""
        for task in self._probing:
            task.cancel()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _command(self, life: Path) -> list[str]:
        environ = {"PATH": _PATH, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.machine.repo:
            environ["PYTHONPATH"] = "/opt/forebay"
        environ |= {one["name"]: one["value"] for one in self.container["env"]}
        (life / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.machine.names)))
        mounts = [word for mount in self._mounts(life) for word in mount]
        return [
            *("unshare", "--mount", "--propagation", "private", "sh", str(_SCRIPT), str(life), *self._user()),
            *(
                str(self.machine.venv),
                str(self.machine.repo or self.machine.venv),
                str(life / "hosts"),
                self.container.get("workingDir", "/"),
                *mounts,
                "--",
            ),
            *(f"{name}={value}" for name, value in environ.items()),
            *(*self.container.get("command", ENTRYPOINT), *self.container["args"]),
        ]

    def _user(self) -> tuple[str, str]:
        context = self.spec["securityContext"]
        return str(context["runAsUser"]), str(context["runAsGroup"])

    def _mounts(self, life: Path) -> list[tuple[str, str, str]]:
        user, group = map(int, self._user())
        found = []
        for mount in self.container["volumeMounts"]:
            source = self._source(mount["name"], life)
            if not mount.get("readOnly"):
                os.chown(source, user, group)
            found.append((str(source), mount["mountPath"], "ro" if mount.get("readOnly") else "rw"))
        if self.machine.app and "workingDir" in self.container:
            found.append((str(self.machine.app), self.container["workingDir"], "ro"))
        return found

    def _source(self, name: str, life: Path) -> Path:
        if name in self.claims:
            self.claims[name].mkdir(exist_ok=True, parents=True)
            return self.claims[name]
        [volume] = [one for one in self.spec["volumes"] if one["name"] == name]
        made = life / "volumes" / name
        made.mkdir(parents=True)
        for source in volume.get("projected", {}).get("sources", ()):
            self._write(source["secret"], made, int(volume["projected"]["defaultMode"]))
        return made

    def _write(self, secret: Object, folder: Path, mode: int) -> None:
        group = int(self.spec["securityContext"]["fsGroup"])
        for item in secret["items"]:
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.machine.secrets[secret["name"]][item["key"]])
            os.chown(path, 0, group)
            path.chmod(mode)

    async def ready(self) -> None:
        """Return when the startup probe and then the readiness probe are content; from then on both are asked on."""
        for probe in ("startupProbe", "readinessProbe"):
            await self._content(probe)
        self.is_ready = True
        self._probing = [asyncio.create_task(self._watch_ready()), asyncio.create_task(self._watch_live())]

    async def _content(self, name: str) -> None:
        probe = self.container[name]
        tries = probe["failureThreshold"] if name == "startupProbe" else sys.maxsize
        for _ in range(tries):
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} has ended\n{self.log[-3000:]}"
            if await self._asked(probe):
                return
            await asyncio.sleep(probe["periodSeconds"] / 5)
        raise AssertionError(f"{self.name}: {name} was never content\n{self.log[-3000:]}")

    async def _watch_ready(self) -> None:
        probe, failed = self.container["readinessProbe"], 0
        while True:
            await asyncio.sleep(probe["periodSeconds"])
            failed = 0 if await self._asked(probe) else failed + 1
            self.is_ready = failed < probe["failureThreshold"]

    async def _watch_live(self) -> None:
        probe, failed = self.container["livenessProbe"], 0
        while True:
            await asyncio.sleep(probe["periodSeconds"])
            failed = 0 if await self._asked(probe) else failed + 1
            if failed >= probe["failureThreshold"]:
                self.faults.append(f"{self.name}: the liveness probe failed {failed} times")

    async def _asked(self, probe: Object) -> bool:
        [port] = [one["containerPort"] for one in self.container["ports"] if one["name"] == probe["httpGet"]["port"]]
        url = f"http://127.0.0.1:{port}{probe['httpGet']['path']}"
        return await asyncio.to_thread(_is_200, url, probe["timeoutSeconds"])

    async def stop(self) -> int:
        """As a kubelet deletes a pod: the hook, SIGTERM, and SIGKILL when the grace is over. The exit status."""
        self.is_ready = False
        for task in self._probing:
            task.cancel()
        loop = asyncio.get_running_loop()
        over = loop.time() + self.spec["terminationGracePeriodSeconds"]
        assert self._process is not None
        hook = self.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook:
            await asyncio.to_thread(self.exec, *hook)
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            return await asyncio.to_thread(self._process.wait, max(over - loop.time(), 0))
        self.faults.append(f"{self.name}: had to be killed when its grace was over")
        self.kill()
        return -signal.SIGKILL

    def exec(self, *command: str) -> str:
        """Run a command in the container, as it is."""
        assert self._process is not None
        user, group = self._user()
        inside = ["nsenter", "--target", str(self._process.pid), "--mount", "--root"]
        as_user = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs"]
        environ = Path(f"/proc/{self._process.pid}/environ").read_text().strip("\0").split("\0")
        done = subprocess.run(
            [*inside, *as_user, "env", "-i", *environ, *command],
            capture_output=True,
            text=True,
            timeout=_END_S,
            check=False,
        )
        assert done.returncode == 0, f"{command} in {self.name}\n{done.stdout}{done.stderr}"
        return done.stdout


def _is_200(url: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - this machine's own
            return bool(answer.status == 200)
    except OSError:
        return False


def shown(text: str) -> list[Any]:
    """What a command with --json printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def folder_for(claim: Path) -> Path:
    """An empty one."""
    shutil.rmtree(claim, ignore_errors=True)
    claim.mkdir(parents=True)
    return claim
