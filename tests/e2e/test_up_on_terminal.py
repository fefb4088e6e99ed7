"""`forebay up` as it looks on a terminal."""

import os
import pty
import signal
import subprocess
from typing import Any


def read(terminal: int, until: str) -> str:
    """What is shown, up to this text."""
    shown = ""
    while until not in shown:
        shown += os.read(terminal, 4096).decode()
    return shown


def test_a_terminal_has_a_status_below_what_handlers_print(site: Any) -> None:
    body = site.folder / "body.txt"
    body.write_text("event=ONCRMDEALADD&data[FIELDS][ID]=7&auth[domain]=one.bitrix24.example")
    terminal, theirs = pty.openpty()
    up = subprocess.Popen(
        site.command("up"), cwd=site.folder, env=site.environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        read(terminal, "Ctrl-C stops")
        site.run("send", "--file", str(body))
        shown = read(terminal, "handled 1 ")
        up.send_signal(signal.SIGINT)
        end = read(terminal, "stopped")

        assert "\r\x1b[Kone.bitrix24.example  ONCRMDEALADD" in shown
        assert "received 1 " in shown
        assert "\r\x1b[K" in end
        assert up.wait(60) == 0
    finally:
        up.kill()
        up.wait()
        os.close(terminal)
