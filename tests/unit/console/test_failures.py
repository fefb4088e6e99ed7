"""What ends a command, as a line and an exit status: with 2 a supervisor doesn't start it again."""

import pytest

from forebay.console.errors import WRONG
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
