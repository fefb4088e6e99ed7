"""What docs/trouble.md tells to type works, and says what it promises."""

import re
import shlex
import time
from datetime import datetime, timedelta
from pathlib import Path

from forebay import Reject
from forebay.processors.settings import WorkerSettings
from forebay.queues.contract import Record
from forebay.schemas import names

from .night import Night

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "trouble.md").read_text("utf-8")
PORTAL, OTHER = "example.bitrix24.com", "other.bitrix24.com"


def commands(page: str = PAGE) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def made_recent(command: list[str]) -> list[str]:
    """The page's day is one that retention has taken long ago: take today's."""
    now = datetime.now()
    span = {"2026-03-01T09:00": now - timedelta(days=2), "2026-03-01T11:30": now - timedelta(hours=1)}
    return [span[word].isoformat() if word in span else word for word in command]


def test_every_command_of_the_page_works(night: Night) -> None:
    body = f"event=ONCRMDEALADD&data[FIELDS][ID]=9&auth[domain]={OTHER}".encode()
    headers = ((names.QUARANTINE_ID, b"q-1"), (names.QUARANTINE_REASON, b"max_fields"))
    call = Record(key=OTHER, value=body, timestamp_ms=int(time.time() * 1000), headers=headers)
    night.do(night.site.producer.send(names.quarantine(night.settings.topic), call))
    night.do(night.site.send(PORTAL, 1))
    night.do(night.site.send(OTHER, 1))
    night.program.errors = {PORTAL: Reject("no stock")}
    night.start()
    night.until_rows(len, "dead", "list")
    night.program.errors.clear()

    failed = {}
    for given in commands():
        command = made_recent(given[1:])
        if command[:2] in (["parked", "resume"], ["parked", "discard"]):
            night.command("parked", "hold", "--portal", PORTAL)
        done = night.command(*command)
        if done.exit_code:
            failed[shlex.join(command)] = done.output

    assert len(commands()) > 15
    assert {given[0] for given in commands()} == {"forebay"}
    assert failed == {}
    assert night.rows("dead", "list") == night.rows("quarantine", "list") == []


def test_what_the_runbook_of_dead_letters_looks_for_is_found(night: Night) -> None:
    night.do(night.site.send(PORTAL, 1))
    night.program.errors = {PORTAL: KeyError("FIELDS")}
    night.start(tries=1)
    night.until_rows(len, "dead", "list")

    looks = [given[1:] for given in commands((DOCS / "runbooks" / "ForebayDeadLetters.md").read_text("utf-8"))]
    lists = [command for command in looks if command[:2] == ["dead", "list"]]

    assert len(lists) > 1
    assert [len(night.rows(*command)) for command in lists] == [1] * len(lists)


def test_the_page_has_the_defaults_of_the_settings() -> None:
    rows = re.findall(
        r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| ([^|]+) \| [^|]+ \|$", PAGE.split("## The settings")[1], re.M
    )
    told = {
        name: value
        for listed, values in rows
        for name, value in zip(re.findall(r"[a-z_]+", listed), values.replace("`", "").split(", "), strict=True)
    }

    defaults = WorkerSettings().model_dump()
    assert len(told) == 10
    for name, value in told.items():
        default = defaults[name]
        assert value.strip() == (default if isinstance(default, str) else f"{default:g}"), name
