"""What ends a command, as a line and an exit status: with 2 a supervisor doesn't start it again."""

import errno
import os

import pytest

from forebay.console.errors import FAILED, WRONG
from forebay.console.failures import told
from forebay.queues import opening
from forebay.queues.errors import QueueError
from forebay.queues.settings import QueueSettings


def test_a_client_that_is_not_installed_is_not_asked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)

    status = told(lambda: len(str(opening.open_queue(QueueSettings(queue_url="redis://cache")))))

    assert status == WRONG
    assert "pip install 'forebay[redis]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("why", "told_so"),
    [
        (errno.EACCES, "Permission denied; run it as the user whose file it is, or give this user the right"),
        (errno.EROFS, "Read-only file system; copy the folder to where this user may write, and name that one"),
    ],
)
def test_a_file_that_is_closed_to_this_user_is_told_without_a_traceback(
    why: int, told_so: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def look() -> int:
        raise OSError(why, os.strerror(why), "forebay-data/spool")

    assert told(look) == FAILED
    assert capsys.readouterr().err == f"forebay: forebay-data/spool: {told_so}\n"


@pytest.mark.parametrize(
    ("error", "told_so"),
    [
        (OSError(errno.EFBIG, "File too large"), "File too large; raise the limit of a file's size (ulimit -f, "),
        (OSError(errno.EMFILE, "Too many", "gaps/0"), "gaps/0: Too many; raise the limit of open files (ulimit -n, "),
    ],
)
def test_a_limit_that_is_reached_is_told_with_what_raises_it(
    error: OSError, told_so: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    assert told(work) == FAILED
    assert capsys.readouterr().err.startswith(f"forebay: {told_so}")


def test_another_error_of_the_system_shows_its_traceback() -> None:
    def look() -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "forebay-data/spool")

    with pytest.raises(OSError, match="Input/output"):
        told(look)


def test_a_terminal_obeys_nothing_of_a_name_that_an_error_tells(capsys: pytest.CaptureFixture[str]) -> None:
    def look() -> int:
        raise QueueError("two reasons:\n  - group \x1b[2Jshop\r: stop it\n  - портал")

    assert told(look) == FAILED
    assert capsys.readouterr().err == "forebay: two reasons:\n  - group \\x1b[2Jshop\\r: stop it\n  - портал\n"
