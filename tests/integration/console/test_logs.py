"""One form for every line of a process, whoever writes it: ours, gunicorn's, librdkafka's, Python's and a handler's."""

import json
import os
import re
import subprocess
import sys
from typing import Any

SCRIPT = """
import logging, sys, warnings
import structlog
from forebay.console.terminal.logs import set_up_logs
set_up_logs(readable={readable})
{does}
"""


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def lines_of(does: str, *, readable: bool = False) -> list[str]:
    """What a process that does this writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(readable=readable, does=does)],
        capture_output=True,
        text=True,
        env=environ() | {"PYTHONWARNINGS": "default"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


def line_of(does: str) -> dict[str, Any]:
    (line,) = map(json.loads, lines_of(does))
    assert line.pop("timestamp").endswith("Z")
    return dict(line)


def test_a_line_of_ours() -> None:
    line = line_of("structlog.get_logger('x').warning('it is so', portal='a.bitrix24.ru', offset=7)")

    assert line == {"event": "it is so", "level": "warning", "portal": "a.bitrix24.ru", "offset": 7}


def test_what_is_said_during_a_command_does_not_stand_among_what_it_prints() -> None:
    called = "from forebay.console.invocation import Invocation\nInvocation(config=None, options={}).load()\n"
    script = f"{called}import structlog\nstructlog.get_logger().warning('it is so', token='hunter2')"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environ(), check=True)

    assert done.stdout == ""
    assert json.loads(done.stderr)["event"] == "it is so"
    assert "hunter2" not in done.stderr


def test_a_line_of_a_library_is_like_ours() -> None:
    line = line_of("logging.getLogger('some.library').error('no %s', 'luck')")

    assert line == {"event": "no luck", "level": "error", "logger": "some.library"}


def test_what_a_library_says_in_passing_is_left_out() -> None:
    assert lines_of("logging.getLogger('some.library').info('hello')") == []


def test_gunicorn_s_line_is_like_ours() -> None:
    line = line_of(
        "from types import SimpleNamespace\n"
        "from gunicorn.config import Config\n"
        "from forebay.ingest.server_log import ServerLog\n"
        "ServerLog(Config()).error('Worker (pid:%s) was sent %s!', 7, 'SIGKILL')"
    )

    assert line == {"event": "Worker (pid:7) was sent SIGKILL!", "level": "error"}


def test_librdkafka_s_line_is_like_ours() -> None:
    lines = lines_of(
        "from forebay.queues.kafka.clients import Clients\n"
        "from forebay.queues.kafka.faults import Faults\n"
        "from forebay.queues.settings import QueueSettings\n"
        "settings = QueueSettings(queue_url='kafka://127.0.0.1:1', kafka={'log_level': 3})\n"
        "client = Clients(settings).producer(Faults(), print)\n"
        "client.poll(5)"
    )

    first = json.loads(lines[0])
    assert (first["level"], first["logger"]) == ("error", "forebay.queues.kafka.client")
    # Its number says how many were made before it, to look at the settings, and are gone.
    assert re.match(r"FAIL \[forebay#producer-\d+\]", first["event"]) and "Connection refused" in first["event"]
    assert all(json.loads(line)["timestamp"] for line in lines)


def test_a_warning_of_python_is_a_line() -> None:
    line = line_of("warnings.warn('it is old', DeprecationWarning)")

    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "it is old" in line["event"]


def test_an_error_is_in_the_line_with_its_traceback() -> None:
    does = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    {}.{}('that went wrong')"

    for logger in ("structlog.get_logger('x')", "logging.getLogger('x')"):
        line = line_of(does.format(logger, "exception"))
        assert "Traceback" in line["exception"] and "ZeroDivisionError" in line["exception"]


def test_a_secret_that_a_library_logs_is_hidden() -> None:
    body = "{'auth[access_token]': 'acce55ible-0123'}"

    for does in (
        f'logging.getLogger("x").error("sent %s", {body})',
        f'logging.getLogger("x").error("sent " + str({body}))',
        f'try:\n    raise ValueError({body})\nexcept ValueError:\n    logging.getLogger("x").exception("no")',
    ):
        for readable in (False, True):
            text = "\n".join(lines_of(does, readable=readable))
            assert "acce55ible" not in text and "***" in text


def test_on_a_terminal_lines_are_for_people() -> None:
    (line,) = lines_of("logging.getLogger('x').error('no luck')", readable=True)

    assert "no luck" in line and not line.startswith("{")


def test_a_line_inside_of_a_span_names_its_trace() -> None:
    line = line_of(
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "with TracerProvider().get_tracer('x').start_as_current_span('y') as span:\n"
        "    structlog.get_logger('x').warning('it is so', told=f'{span.get_span_context().trace_id:032x}')"
    )

    assert line["trace_id"] == line["told"]
    assert len(line["span_id"]) == 16


def test_a_line_that_names_its_own_trace_keeps_it() -> None:
    line = line_of(
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "with TracerProvider().get_tracer('x').start_as_current_span('y'):\n"
        "    structlog.get_logger('x').warning('it is so', trace_id='its own')"
    )

    assert line["trace_id"] == "its own" and "span_id" not in line


def test_a_line_that_can_not_be_written_is_all_that_is_lost() -> None:
    lines = lines_of(
        "import os\n"
        "real, sys.stderr = sys.stderr, open('/dev/full', 'w', buffering=1)\n"
        "set_up_logs(readable=False)\n"
        "structlog.get_logger('x').warning('no room for it')\n"
        "print('went on', file=real, flush=True)\n"
        # What the buffer has is not to be written at Python's end.
        "os._exit(0)"
    )

    assert lines == ["went on"]


def test_what_a_call_has_set_up_is_in_its_trace_no_longer_than_the_call() -> None:
    lines = lines_of(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "span = TracerProvider(shutdown_on_exit=False).get_tracer('x').start_span('x')\n"
        "with trace.use_span(span):\n"
        "    structlog.get_logger('x').warning('during it')\n"
        "    span.end()\n"
        "    structlog.get_logger('x').warning('after it')"
    )

    assert [(line["event"], "trace_id" in line) for line in map(json.loads, lines)] == [
        ("during it", True),
        ("after it", False),
    ]
