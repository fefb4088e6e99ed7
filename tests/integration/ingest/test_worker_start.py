"""What a worker still has to do when it is forked: while it does, its place is empty."""

import json
import subprocess
import sys
from pathlib import Path

_SERVE = """
import gc, json, os, signal, sys
from forebay.ingest.server import Server, serve
from forebay.ingest.settings import IngestSettings

known, frozen = set(), []
os.register_at_fork(before=lambda: (known.update(sys.modules), frozen.append(gc.get_freeze_count())))
load = Server.load

def loaded(self):
    application = load(self)
    print(json.dumps({"imported": sorted(sys.modules.keys() - known), "frozen": frozen[0]}), flush=True)
    os.kill(os.getppid(), signal.SIGTERM)
    return application

Server.load = loaded
serve(IngestSettings(**json.loads(sys.argv[1])))
"""


def test_a_worker_imports_nothing_and_looks_through_nothing_that_its_master_has_already(tmp_path: Path) -> None:
    settings = {"queue_url": f"sqlite:///{tmp_path}/queue.db", "bind": "127.0.0.1:0", "auth": "none"}

    served = subprocess.run(
        [sys.executable, "-c", _SERVE, json.dumps(settings | {"data_dir": str(tmp_path)})],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    (said,) = (json.loads(line) for line in served.stdout.splitlines() if line.startswith('{"imported"'))
    # Python's own reader of the schemas is what is left.
    assert [name for name in said["imported"] if not name.startswith("importlib.")] == []
    assert said["frozen"] > 10_000
