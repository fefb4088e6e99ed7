"""What becomes of a command whose standard output does not take everything."""

import os
import pty
import re
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socketpair
from typing import TextIO

import pytest

from forebay.console.processes.status import StatusLine
from forebay.console.terminal.output import show_json
from forebay.console.terminal.printing import printed
from forebay.processors.printing import let_handlers_print


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What is written to, and where it would be read."""

    stream: TextIO
    reading: int


@pytest.fixture
def full() -> Iterator[TextIO]:
    """A file that has no room."""
    stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - how it closes is no matter here
    yield stream
    with suppress(OSError):
        stream.close()


def _leave(text: str) -> int:
    """Print the text, but let whoever ends the process see to it."""
    sys.stdout.write(text)
    return 0


def test_what_is_still_to_be_written_at_the_end_is_written_before_the_status_is_given(
    full: TextIO, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", full)

    status = printed(lambda: _leave("a row"))

    assert status == 1
    assert capfd.readouterr().err == "forebay: standard output did not take everything: No space left on device\n"
    # Python does it as well, as it ends.
    sys.stdout.flush()


def test_a_reader_that_has_gone_is_told_by_the_status_alone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        status = printed(lambda: _leave("a row"))
        sys.stdout.flush()

    assert (status, capfd.readouterr().err) == (1, "")


def test_another_error_is_none_of_ours(full: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", full)

    def fail() -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        printed(fail)


@pytest.mark.parametrize(("code", "status"), [(None, 0), (0, 0), (2, 2), (130, 130)])
def test_a_command_that_ends_itself_has_the_status_that_it_said(
    full: TextIO, monkeypatch: pytest.MonkeyPatch, code: int | None, status: int
) -> None:
    monkeypatch.setattr(sys, "stdout", full)

    assert printed(lambda: sys.exit(code)) == status


def test_what_up_says_of_itself_costs_nothing_but_the_line(full: TextIO) -> None:
    line = StatusLine(full)

    line.say("worker 1 was ended by SIGKILL; it is started again in 0.2 s")
    line.show("received 1")


def _pipe() -> tuple[int, int]:
    """As of a pager, or of a collector of logs that hangs."""
    return os.pipe()


def _pipe_that_nobody_waits_for() -> tuple[int, int]:
    """Somebody has made it so, as `ssh` and others do."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    return reading, writing


def _wire() -> tuple[int, int]:
    """As of systemd's journal."""
    reading, writing = socketpair()
    return reading.detach(), writing.detach()


def _terminal() -> tuple[int, int]:
    """As after Ctrl-S."""
    person, process = pty.openpty()
    termios.tcflow(process, termios.TCOOFF)
    return person, process


@pytest.fixture(
    params=[_pipe, _pipe_that_nobody_waits_for, _wire, _terminal], ids=lambda made: made.__name__.strip("_")
)
def unread(request: pytest.FixtureRequest) -> Iterator[Unread]:
    """What nobody reads."""
    reading, writing = request.param()
    stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115 - how it closes is no matter here
    yield Unread(stream=stream, reading=reading)
    os.close(reading)
    with suppress(OSError):
        stream.close()


def _print_much(to: TextIO) -> None:
    """More than a pipe holds, or a wire."""
    for number in range(3000):
        print("example.bitrix24.com", "ONCRMDEALADD", number, "." * 80, file=to)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_nobody_reads_costs_nothing_but_the_line(
    unread: Unread, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for one in ("stdout", "stderr"):
        monkeypatch.setattr(sys, one, unread.stream if one == name else None)

    let_handlers_print()

    _print_much(getattr(sys, name))


def test_whoever_reads_again_is_told_how_much_was_left_out(unread: Unread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", unread.stream)
    monkeypatch.setattr(sys, "stderr", None)
    let_handlers_print()
    _print_much(sys.stdout)

    if os.isatty(unread.reading):
        termios.tcflow(unread.stream.fileno(), termios.TCOON)
    with ThreadPoolExecutor(1) as reader:
        got = reader.submit(_all_up_to, b"the end", unread.reading)
        while not got.done():
            # Whether there is room is known when somebody has read.
            print("the end")
            time.sleep(0.01)
        found = got.result().replace(b"\r", b"")

    [told] = re.findall(rb'^{"event": "output was left out[^"]*", "bytes": (\d+), "level": "warning"}$', found, re.M)
    assert 0 < int(told) <= sum(len(f"example.bitrix24.com ONCRMDEALADD {n} {'.' * 80}\n") for n in range(3000))


def _all_up_to(end: bytes, reading: int) -> bytes:
    got = b""
    while end not in got:
        got += os.read(reading, 65536)
    return got


def test_the_descriptor_is_waited_for_by_whoever_else_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", None)

        let_handlers_print()

        assert (sys.stdout.fileno(), os.get_blocking(writing)) == (writing, True)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_a_handler_prints_to_a_full_disk_costs_nothing_but_the_line(
    full: TextIO, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for one in ("stdout", "stderr"):
        monkeypatch.setattr(sys, one, full if one == name else None)

    let_handlers_print()

    _print_much(getattr(sys, name))


@pytest.fixture
def russian(tmp_path: Path) -> Iterator[TextIO]:
    """Standard output in the locale ru_RU.KOI8-R."""
    with open(tmp_path / "out", "w", encoding="koi8-r") as stream:
        yield stream


def test_a_character_that_the_locale_has_not_is_shown_as_its_code(
    russian: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", russian)
    monkeypatch.setattr(sys, "stderr", sys.stderr)

    assert printed(lambda: _leave("сделка — try, ")) == 0
    let_handlers_print()
    print("Œuvre")

    assert Path(russian.name).read_text("koi8-r") == "сделка \\u2014 try, \\u0152uvre\n"


def test_so_it_is_where_the_locale_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As with LC_ALL=C and PYTHONUTF8=0.
    with open(tmp_path / "out", "w", encoding="ascii", errors="surrogateescape") as stream:
        monkeypatch.setattr(sys, "stdout", stream)

        assert printed(lambda: _leave("try → again")) == 0

    assert (tmp_path / "out").read_text("ascii") == "try \\u2192 again"


def test_json_is_utf_8_in_every_locale(russian: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", russian)

    show_json([{"title": "сделка — try"}])

    assert Path(russian.name).read_text("utf-8") == '{"title":"сделка — try"}\n'
