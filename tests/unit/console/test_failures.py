"""What ends a command, as a line and an exit status: with 2 a supervisor doesn't start it again."""

import pytest

from forebay.console.errors import FAILED, WRONG
from forebay.console.failures import told
from forebay.queues import opening
from forebay.queues.settings import QueueSettings


def test_a_client_that_is_not_installed_is_not_asked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None)

    status = told(lambda: len(str(opening.open_queue(QueueSettings(queue_url="redis://cache")))))

    assert status == WRONG
    assert "pip install 'forebay[redis]'" in capsys.readouterr().err


def test_a_file_of_another_user_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def look() -> int:
        raise PermissionError(13, "Permission denied", "forebay-data/spool")

    assert told(look) == FAILED
    assert capsys.readouterr().err == (
        "forebay: forebay-data/spool: Permission denied; run it as the user whose file it is, "
        "or give this user the right\n"
    )
