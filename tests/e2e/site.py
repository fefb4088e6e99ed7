"""Real `forebay` processes: a site is what runs on one machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.answers import called
from tests.ports import free_ports
from tests.processes import dying_with_us, written

_STOP_S = 60
_WAIT_S = 110
_LOOK_EVERY_S = 0.05


@dataclass(kw_only=True)
class Site:
    """A directory with its settings, and the processes that run there. What they write is in `<name>.log`."""

    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    #: What else is in the environment of its processes.
    variables: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    #: What processes of that name wrote that were started before the last one.
    earlier: defaultdict[str, str] = field(default_factory=lambda: defaultdict(str))

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every process of the site; nothing of whoever runs the tests sets anything up."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
        ours = {f"FOREBAY_{name.upper()}": value for name, value in self.settings.items()}
        return outside | self.variables | ours

    @property
    def url(self) -> str:
        """Where events go."""
        return f"http://127.0.0.1:{self.port}/bitrix24"

    def command(self, *arguments: str) -> list[str]:
        """The command line of `forebay` with these arguments."""
        # Like the installed script, and unlike -m alone, -P leaves the working directory off the path.
        return [sys.executable, "-P", "-m", "forebay.console", *arguments]

    def start(self, name: str, *arguments: str, output: int | None = None) -> "subprocess.Popen[bytes]":
        """Start `forebay` with these arguments, and don't wait for it. What it writes may go elsewhere."""
        if name in self.running:
            self.earlier[name] += self.log(name)
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*dying_with_us(), *self.command(*arguments)],
                cwd=self.folder,
                env=self.environ,
                stdout=log if output is None else output,
                stderr=subprocess.STDOUT,
            )
        self.running[name] = process
        return process

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `forebay` with these arguments to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
            check=False,
        )

    def stop(self, name: str) -> int:
        """SIGTERM, and the exit status."""
        self.running[name].send_signal(signal.SIGTERM)
        return self.running[name].wait(_STOP_S)

    def log(self, name: str) -> str:
        """What the process wrote so far, in whole lines."""
        return written(self.folder / f"{name}.log")

    def handled(self, book: str = "handled.log") -> list[str]:
        """What its handlers have written into that file so far, a line each."""
        path = self.folder / book
        return written(path).splitlines() if path.exists() else []

    def workers(self) -> list[int]:
        """The processes of the ingest that take calls."""
        pid = self.running["ingest"].pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        """Look again and again until it is so; fail with the logs when it never is."""
        over = time.monotonic() + _WAIT_S
        while time.monotonic() < over:
            if until():
                return
            time.sleep(_LOOK_EVERY_S)
        logs = "\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self.running)
        pytest.fail(f"{what} did not come within {_WAIT_S} s\n{logs}")

    def is_ready(self) -> bool:
        """Whether the ingest takes calls."""
        try:
            return called(f"http://127.0.0.1:{self.port}/ready", timeout_s=5)[0] == 200
        except OSError:
            return False

    def has_its_queue(self) -> bool:
        """Whether calls go to the queue, and none to the spool."""
        return self.parts().get("queue") == "ok"

    def parts(self) -> dict[str, str]:
        """What the ingest says of its parts; nothing while it takes no calls."""
        try:
            status, told = called(f"http://127.0.0.1:{self.port}/ready", timeout_s=5)
        except OSError:
            return {}
        return dict(json.loads(told)["parts"]) if status == 200 else {}


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """A site in that folder; whatever still runs at the end is killed."""
    [port] = free_ports(1)
    settings = {"bind": f"127.0.0.1:{port}", "data_dir": str(folder / "data")}
    made = Site(folder=folder, port=port, settings=settings)
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait()
