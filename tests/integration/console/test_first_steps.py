"""A process of the command, before it has done anything: what it was started with, and how it is ended."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "forebay.console")


def run(*command: str, cwd: Path, closed: str = "") -> "subprocess.CompletedProcess[str]":
    """What comes of it where these streams are closed, as in `>&-`."""
    script = f'exec "$@" {closed}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *command], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def test_what_is_printed_to_a_closed_output_is_told(tmp_path: Path) -> None:
    commands = (("topics", "ensure"), ("lag",), ("lag", "--json"))

    found = [run(*COMMAND, *command, cwd=tmp_path, closed=">&-") for command in commands]

    told = (1, "forebay: standard output did not take everything: Bad file descriptor\n")
    assert [(done.returncode, done.stderr) for done in found] == [told] * 3
    assert "partition" in run(*COMMAND, "lag", cwd=tmp_path).stdout


@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_a_result_is_whole_where_other_streams_are_closed(tmp_path: Path, closed: str) -> None:
    run(*COMMAND, "topics", "ensure", cwd=tmp_path)

    done = run(*COMMAND, "lag", "--json", cwd=tmp_path, closed=closed)
    failed = run(*COMMAND, "--queue-url", "sqlite:///nowhere.db", "lag", "--json", cwd=tmp_path, closed=closed)

    assert (done.returncode, done.stdout.count('"partition"')) == (0, 12), done.stderr
    # An error is no row.
    assert (failed.returncode, failed.stdout) == (1, "")


def test_children_have_the_streams_too(tmp_path: Path) -> None:
    looks = "import os; os.fstat(0), os.fstat(1), os.fstat(2)"
    script = (
        "import subprocess, sys; from forebay.console.__main__ import _take_places; _take_places();"
        f"sys.exit(subprocess.run([sys.executable, '-c', {looks!r}]).returncode)"
    )

    assert run(sys.executable, "-c", script, cwd=tmp_path, closed="<&- >&- 2>&-").returncode == 0


def test_no_file_takes_the_number_of_a_closed_stream_in_whose_place_a_worker_puts_another(tmp_path: Path) -> None:
    script = (
        "import os, sys; from forebay.console.__main__ import _take_places; _take_places();"
        "from forebay.processors.printing import let_handlers_print; let_handlers_print();"
        "sys.exit(os.open(os.devnull, os.O_RDONLY) < 3)"
    )

    assert run(sys.executable, "-c", script, cwd=tmp_path, closed="<&- >&- 2>&-").returncode == 0


def test_signals_are_heard_that_a_parent_has_blocked_or_ignored(tmp_path: Path) -> None:
    script = (
        "import signal, sys; from forebay.console.__main__ import _hear_signals;"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]);"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "_hear_signals();"
        "sys.exit(bool(signal.pthread_sigmask(signal.SIG_BLOCK, ())) or bool(signal.getsignal(signal.SIGCHLD)))"
    )

    assert run(sys.executable, "-c", script, cwd=tmp_path).returncode == 0


def test_the_first_process_of_a_container_hears_a_stop_from_its_first_steps_on(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\n")
    script = "import os; os.getpid = lambda: 1; from forebay.console.__main__ import main; main()"

    assert run(sys.executable, "-c", script, cwd=tmp_path).returncode == 128 + signal.SIGTERM


def test_who_is_to_outlive_its_terminal_is_not_stopped_by_its_end(tmp_path: Path) -> None:
    script = "import signal, sys; from forebay.console.running import stops; sys.exit(signal.SIGHUP in stops())"
    asks = (sys.executable, "-c", script)

    # The tests may have been started so, too.
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    found = run(*asks, cwd=tmp_path).returncode, run("nohup", *asks, cwd=tmp_path).returncode
    signal.signal(signal.SIGHUP, ours)

    assert found == (1, 0)


BREAKS_OFF = {
    "an import": ("typer.py", "import signal; signal.raise_signal(signal.SIGINT)"),
    "an import that lets no error through": (
        "typer.py",
        "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException: pass",
    ),
    "the making of the command": (
        "typer.py",
        "import signal\nclass Typer:\n    def __init__(self, **given): signal.raise_signal(signal.SIGINT)\n"
        "def __getattr__(name): return lambda *given, **more: None",
    ),
}


@pytest.mark.parametrize("what", BREAKS_OFF)
def test_ctrl_c_before_the_command_is_there_ends_it_without_a_traceback(tmp_path: Path, what: str) -> None:
    name, content = BREAKS_OFF[what]
    (tmp_path / name).write_text(content)

    done = subprocess.run([*COMMAND, "lag"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
