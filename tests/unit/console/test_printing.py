"""What becomes of a command whose standard output does not take everything."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from forebay.console.output import show_json
from forebay.console.printing import printed
from forebay.console.status import StatusLine
from forebay.processors.printing import let_handlers_print


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


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe that nobody reads, and that somebody has made one that nobody waits for, as `ssh` and others do."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115 - how it closes is no matter here
    yield stream
    with suppress(OSError):
        stream.close()
    os.close(reading)


@pytest.mark.parametrize("where", ["full", "unread"])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_what_a_handler_prints_costs_nothing_but_the_line(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    stream: TextIO = request.getfixturevalue(where)
    for one in ("stdout", "stderr"):
        monkeypatch.setattr(sys, one, stream if one == name else None)

    let_handlers_print()

    for number in range(2000):
        # More than a pipe holds.
        print("example.bitrix24.com", "ONCRMDEALADD", number, "." * 80, file=getattr(sys, name))


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


def test_json_is_utf_8_in_every_locale(russian: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", russian)

    show_json([{"title": "сделка — try"}])

    assert Path(russian.name).read_text("utf-8") == '{"title":"сделка — try"}\n'
