"""`python -P -m forebay.console.processes.child NAME`: a side in a process of its own, which ends with its parent."""

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import sleep
from typing import TYPE_CHECKING

from forebay.console.errors import FAILED
from forebay.console.failures import told

from .binding import hand_over
from .supervisor import Child

if TYPE_CHECKING:
    from forebay.console.settings import Loaded

#: From sys/prctl.h: the signal that the kernel sends when the parent has died.
_PR_SET_PDEATHSIG = 1

_LOOK_EVERY_S = 1.0

#: A worker has the events of many portals at work, and none of them is done when one of them ends it each time.
_IF_KILLED = "where an event does that, docs/trouble.md, An event that ends its worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a child does, with the settings that its parent has.

    It reads none itself: a file that is changed, or is away for a moment, must not have one that is started again work
    on another queue than the others.
    """

    role: str
    settings: Mapping[str, object] = field(default_factory=dict)
    target: str = ""
    only: str | None = None
    readable: bool = False
    #: Numbers of sockets that systemd has handed over to the parent.
    sockets: Sequence[int] = ()
    parent: int = field(default_factory=os.getpid)

    def child(self, name: str) -> Child:
        """Who does it. With -P the user's files can't hide the standard library's from us.

        The job has secrets in it, and a command line is seen by everybody.
        """
        command = [sys.executable, "-P", "-m", "forebay.console.processes.child", name]
        hint = _IF_KILLED if self.role == "worker" else ""
        told = json.dumps(asdict(self)).encode()
        return Child(name=name, command=command, told=told, sockets=self.sockets, if_killed=hint)


def ingest(loaded: "Loaded", sockets: Sequence[int], *, readable: bool) -> Child:
    """The ingest as a child of this process, which listens on the sockets if there are any."""
    return Job(role="ingest", settings=loaded.given, sockets=[*sockets], readable=readable).child("ingest")


def workers(
    loaded: "Loaded",
    target: str,
    *,
    only: str | None = None,
    readable: bool = False,
) -> list[Child]:
    """The workers of the setting `processes` as children of this process, each with a group_instance_id of its own.

    They run every group of the handlers, or `only` one.
    """
    found, instance = [], loaded.settings.group_instance_id
    for number in range(1, loaded.settings.processes + 1):
        own = {"group_instance_id": f"{instance}-{number}"} if instance else {}
        job = Job(role="worker", settings={**loaded.given, **own}, target=target, only=only, readable=readable)
        found.append(job.child(f"worker {number}"))
    return found


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
    from forebay.console.settings import Settings
    from forebay.console.terminal.logs import set_up_logs

    from .shared_folder import METRICS_FOLDER, tell

    folder = os.environ[METRICS_FOLDER]
    set_up_logs(readable=job.readable)
    settings = Settings.model_validate(job.settings)
    if job.role == "ingest":
        from forebay.ingest.server import serve

        from .standing_still import exposition_of

        if job.sockets:
            hand_over(len(job.sockets))
        serve(settings, folder, exposition_of, listening=lambda: tell(folder, {"status": "ok", "parts": {}}))
        return 0
    from .worker import run_worker

    return run_worker(settings, job.target, only=job.only, folder=folder)


def main(tie: Callable[[int], None] = end_with) -> int:
    """Do the job that standard input has, and return its exit status."""
    try:
        job = Job(**json.loads(sys.stdin.buffer.read()))
    except ValueError:
        # The parent was killed before it had told all of it.
        return FAILED
    tie(job.parent)
    return told(lambda: _do(job))


if __name__ == "__main__":
    sys.exit(main())
