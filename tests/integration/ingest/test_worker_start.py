"""What a worker still has to do when it is forked: while it does, its place is empty."""

import json
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import written

from .conftest import Served, Start

_SERVE = """
import gc, json, os, sys
from falcon.routing import CompiledRouter
from forebay.ingest import server, worker
from forebay.ingest.settings import IngestSettings

known, told = set(), {"compiled_by": []}
os.register_at_fork(before=lambda: (known.update(sys.modules), told.update(frozen=gc.get_freeze_count())))
make, lost = server.create_app, worker.PortalProtocol.connection_lost
compile_routes = CompiledRouter._compile

def made(*arguments, **more):
    told.setdefault("made_by", []).append(os.getpid())
    return make(*arguments, **more)

def compiled(self):
    told["compiled_by"].append(os.getpid())
    return compile_routes(self)

def tell(self, error):
    lost(self, error)
    print(json.dumps(told | {"pid": os.getpid(), "imported": sorted(sys.modules.keys() - known)}), flush=True)

server.create_app, worker.PortalProtocol.connection_lost, CompiledRouter._compile = made, tell, compiled
server.serve(IngestSettings(**json.loads(sys.argv[1])))
"""

_TRACED = "import os\nos.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:9'\n" + _SERVE

#: While there is a file `scarce`, what is named fails.
_SCARCE = """
import json, os, sys
from pathlib import Path
from forebay.ingest import worker
from forebay.ingest.server import serve
from forebay.ingest.settings import IngestSettings

settings = json.loads(sys.argv[1])
scarce = Path(settings["data_dir"]) / "scarce"
module, name, error = {failing}
there_is_room = getattr(module, name)

def maybe():
    if scarce.exists():
        with scarce.open("a") as tried:
            tried.write("x")
        if error is None:
            os.abort()
        raise error
    return there_is_room()

setattr(module, name, maybe)
serve(IngestSettings(**settings), reread=lambda: IngestSettings(**settings | {{"ack_deadline_ms": 300}}))
"""

_FAILING = {
    "no-process": "os, 'fork', BlockingIOError(11, 'Resource temporarily unavailable')",
    "no-memory": "worker, 'new_event_loop', MemoryError()",
    "crash": "worker, 'new_event_loop', None",
}

_EVENT = b"event=ONCRMDEALADD&data[FIELDS][ID]=1&auth[domain]=a.bitrix24.ru"

_WAIT_S = 20.0

#: In several rounds of those that are missing.
_OFTEN = 8


def test_a_worker_that_takes_anothers_place_makes_and_imports_nothing_up_to_its_first_answer(start: Start) -> None:
    served = start(auth="none", script=_SERVE)
    [first] = served.workers()
    os.kill(first, signal.SIGKILL)

    status, _ = served.call("/bitrix24", _EVENT)

    told = _told(served, first)
    assert status == 200
    assert told["made_by"] == [served.process.pid]
    assert set(told["compiled_by"]) == {served.process.pid}
    assert told["imported"] == []
    assert told["frozen"] > 10_000


def test_a_worker_that_traces_makes_all_of_its_own_since_a_tracers_thread_crosses_no_fork(start: Start) -> None:
    served = start(auth="none", script=_TRACED)

    served.call("/bitrix24", _EVENT)

    assert _told(served)["made_by"] == served.workers()


def test_a_worker_has_room_for_all_the_connections_that_it_may_have_before_the_first_one_comes(start: Start) -> None:
    served = start(auth="none")

    [worker] = served.workers()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    may_open, _ = resource.prlimit(worker, resource.RLIMIT_NOFILE)

    # Where it must be made larger, everybody waits for 10 to 20 ms.
    assert int(status["FDSize"]) >= min(may_open, 32_768)


def _told(served: Served, before: int = 0) -> dict[str, Any]:
    """What the worker said that came after that one."""
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        for line in written(served.log).splitlines():
            if '"made_by"' in line and (told := json.loads(line))["pid"] != before:
                return dict(told)
        time.sleep(0.02)
    raise AssertionError(f"it said nothing: {served.log.read_text()}")


@pytest.mark.parametrize("failing", _FAILING.values(), ids=_FAILING)
def test_a_worker_that_can_not_be_started_ends_none_that_serves_and_is_started_later(
    start: Start, failing: str
) -> None:
    served = start(auth="none", ingest_processes=2, script=_SCARCE.format(failing=failing))
    _wait(lambda: _begun(served) == 2, served)
    first, _ = served.workers()
    scarce = Path(served.settings["data_dir"]) / "scarce"
    scarce.touch()

    os.kill(first, signal.SIGKILL)

    _wait(lambda: "the others go on" in served.log.read_text(), served)
    assert served.call("/bitrix24", _EVENT)[0] == 200
    scarce.unlink()
    _wait(lambda: _begun(served) == 3, served)
    assert len(served.workers()) == 2
    assert served.stop() == 0


@pytest.mark.parametrize("failing", _FAILING.values(), ids=_FAILING)
def test_new_settings_wait_for_workers_that_can_be_started_and_the_old_ones_serve_until_then(
    start: Start, failing: str
) -> None:
    served = start(auth="none", ingest_processes=2, script=_SCARCE.format(failing=failing))
    _wait(lambda: _begun(served) == 2, served)
    old = {*served.workers()}
    scarce = Path(served.settings["data_dir"]) / "scarce"
    scarce.touch()

    served.process.send_signal(signal.SIGHUP)

    _wait(lambda: len(scarce.read_text()) >= _OFTEN, served)
    assert served.call("/bitrix24", _EVENT)[0] == 200
    assert old <= {*served.workers()}
    scarce.unlink()
    _wait(lambda: len(served.workers()) == 2 and not old & {*served.workers()}, served)
    assert served.call("/bitrix24", _EVENT)[0] == 200
    assert served.stop() == 0


def test_where_no_worker_has_served_yet_one_that_fails_at_its_start_ends_everything(start: Start) -> None:
    always = _SCARCE.format(failing=_FAILING["no-memory"]).replace("if scarce.exists()", "if True")

    with pytest.raises(AssertionError, match="Worker failed to boot") as told:
        start(auth="none", ingest_processes=4, script=always)

    # Those that fail behind the first one end it no other way.
    assert "During handling" not in str(told.value)


def _begun(served: Served) -> int:
    """How many workers have begun to listen so far."""
    return served.log.read_text().count("ASGI server listening")


def _wait(until: Callable[[], bool], served: Served) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not until():
        assert time.monotonic() < deadline and served.process.poll() is None, served.log.read_text()
        time.sleep(0.05)
