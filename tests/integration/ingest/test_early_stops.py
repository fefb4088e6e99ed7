"""Stops that come while the server is still made, or a worker is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import free_port

_STOPPED_WHILE_IT_IS_MADE = """
import json, os, signal, sys
from forebay.ingest import server
from forebay.ingest.settings import IngestSettings

make = getattr(server, sys.argv[2])

def stopped(*arguments, **more):
    os.kill(os.getpid(), int(sys.argv[3]))
    return make(*arguments, **more)

setattr(server, sys.argv[2], stopped)
server.serve(IngestSettings(**json.loads(sys.argv[1])), listening=lambda: print("it listens", flush=True))
"""

_STOPPED_WHEN_IT_HAS_FORKED = """
import json, os, signal, sys
from forebay.ingest import server, worker
from forebay.ingest.settings import IngestSettings

begin = worker.PortalWorker.init_process

def begin_late(self):
    os.kill(os.getppid(), int(sys.argv[2]))
    signal.pause()
    begin(self)

worker.PortalWorker.init_process = begin_late
server.serve(IngestSettings(**json.loads(sys.argv[1])))
"""

_FAILS_WHEN_ITS_STOP_HAS_COME = """
import json, os, signal, sys
from forebay.ingest import server, worker
from forebay.ingest.settings import IngestSettings

def fail(self):
    signal.signal(int(sys.argv[2]), lambda *_: None)
    os.kill(os.getppid(), int(sys.argv[2]))
    signal.pause()
    raise MemoryError

worker.PortalWorker.init_process = fail
server.serve(IngestSettings(**json.loads(sys.argv[1])))
"""

_LONG_S = 60


def _run(folder: Path, script: str, *arguments: str) -> tuple[int, str]:
    """Its exit status, and what it said."""
    (folder / "tmp").mkdir()
    settings = {"bind": f"127.0.0.1:{free_port()}", "data_dir": str(folder / "data"), "drain_s": 2, "auth": "none"}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(settings), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LONG_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(folder / "tmp")},
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("how", ["15", "2"], ids=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("step", ["open_queue", "create_app", "_prepare_forks"])
def test_a_stop_while_the_server_is_made_ends_it_before_it_listens_and_leaves_nothing(
    tmp_path: Path, step: str, how: str
) -> None:
    status, said = _run(tmp_path, _STOPPED_WHILE_IT_IS_MADE, step, how)

    assert status == 0, said
    assert "it listens" not in said and "Booting worker" not in said
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("how", ["15", "2"], ids=["SIGTERM", "SIGINT"])
def test_a_worker_that_is_stopped_when_it_was_just_forked_takes_no_calls_any_more(tmp_path: Path, how: str) -> None:
    status, said = _run(tmp_path, _STOPPED_WHEN_IT_HAS_FORKED, how)

    assert status == 0, said
    assert "Booting worker" in said and "ASGI server listening" not in said
    assert os.listdir(tmp_path / "tmp") == []


def test_a_stop_ends_well_also_where_the_first_worker_fails_at_its_start_meanwhile(tmp_path: Path) -> None:
    status, said = _run(tmp_path, _FAILS_WHEN_ITS_STOP_HAS_COME, "15")

    assert status == 0, said
    assert "Traceback" not in said.partition("exited with code")[2]
    assert os.listdir(tmp_path / "tmp") == []
