"""`python -P -m forebay.console.child JOB`: one side in a process of its own, which ends when its parent does."""

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from .failures import told
from .invocation import Invocation
from .supervisor import Child

if TYPE_CHECKING:
    from .settings import Settings

#: From sys/prctl.h: the signal that the kernel sends when the parent has died.
_PR_SET_PDEATHSIG = 1

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a child does. The settings are read again in the child, in the same order of places."""

    role: str
    config: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    target: str = ""
    only: str | None = None
    readable: bool = False
    parent: int = field(default_factory=os.getpid)

    def command(self) -> list[str]:
        """The command line. With -P the user's files can't hide the standard library's from us."""
        return [sys.executable, "-P", "-m", "forebay.console.child", json.dumps(asdict(self))]


def ingest(called: Invocation, options: Mapping[str, object], *, readable: bool) -> Child:
    """The ingest as a child of this process."""
    job = Job(role="ingest", config=_path(called), options=_given(called, options), readable=readable)
    return Child(name="ingest", command=job.command())


def workers(
    settings: "Settings",
    called: Invocation,
    options: Mapping[str, object],
    target: str,
    *,
    only: str | None = None,
    readable: bool = False,
) -> list[Child]:
    """The workers of the setting `processes` as children of this process, each with a group_instance_id of its own.

    They run every group of the handlers, or `only` one.
    """
    found = []
    for number in range(1, settings.processes + 1):
        given = _given(called, options)
        if settings.group_instance_id:
            given["group_instance_id"] = f"{settings.group_instance_id}-{number}"
        job = Job(role="worker", config=_path(called), options=given, target=target, only=only, readable=readable)
        found.append(Child(name=f"worker {number}", command=job.command()))
    return found


def _given(called: Invocation, options: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**called.options, **options}.items() if value is not None}


def _path(called: Invocation) -> str | None:
    return str(called.config) if called.config else None


def end_with(parent: int) -> None:
    """From now on get a SIGTERM when the parent is gone, however it ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # It may have died before we asked.
    if os.getppid() != parent:
        raise SystemExit(0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)


def _do(job: Job) -> int:
    from .folder import METRICS_FOLDER, tell
    from .logs import set_up_logs
    from .settings import load_settings

    folder = os.environ[METRICS_FOLDER]
    set_up_logs(readable=job.readable)
    settings = load_settings(Path(job.config) if job.config else None, job.options).settings
    if job.role == "ingest":
        from forebay.ingest.server import serve

        serve(settings, folder, listening=lambda: tell(folder, {"status": "ok", "parts": {}}))
        return 0
    from .work import work

    return work(settings, job.target, only=job.only, folder=folder)


def main(arguments: list[str] | None = None, tie: Callable[[int], None] = end_with) -> int:
    """Do the job that the command line holds, and return its exit status."""
    job = Job(**json.loads((arguments or sys.argv[1:])[0]))
    tie(job.parent)
    return told(lambda: _do(job))


if __name__ == "__main__":
    sys.exit(main())
