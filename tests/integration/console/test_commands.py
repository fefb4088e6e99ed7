"""The commands over a queue on SQLite, as one calls them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from forebay.console.cli import build
from forebay.processors.dead_letters import Circumstances, dead_letter
from forebay.processors.errors import Reject
from forebay.processors.testing import event
from forebay.queues.contract import PlacedRecord, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.ports import free_ports

TOPIC = "bitrix24.events"


class Command:
    """`forebay` in this process, over the data of one folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = QueueSettings(data_dir=folder / "data")

    def run(self, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(build(), ["--data-dir", str(self.settings.data_dir), *arguments])
        if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.stdout

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return self.rows_of(0, *arguments)

    def rows_of(self, status: int, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*arguments, "--json", status=status).splitlines()]

    def put(self, stream: str, *records: Record) -> None:
        asyncio.run(self._put(stream, records))

    async def _put(self, stream: str, records: tuple[Record, ...]) -> None:
        queue = open_queue(self.settings)
        await queue.ensure(names.streams(TOPIC), self.settings.partitions)
        producer = queue.producer()
        for record in records:
            await producer.send(stream, record)
        await producer.close()
        await queue.close()


@pytest.fixture
def forebay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(tmp_path)


def a_record(number: int, portal: str = "one.bitrix24.example") -> Record:
    made = event("ONCRMDEALADD", data={"FIELDS": {"ID": str(number)}}, portal=portal)
    return Record(key=portal, value=codec().encode(made), timestamp_ms=1_772_366_400_000 + number)


def a_dead_record(number: int, portal: str = "one.bitrix24.example", at_ms: int = 1_772_366_500_000) -> Record:
    return dead(a_record(number, portal), number, at_ms)


def dead(record: Record, number: int, at_ms: int) -> Record:
    stood = PlacedRecord(
        key=record.key, value=record.value, timestamp_ms=record.timestamp_ms, stream=TOPIC, partition=3, offset=number
    )
    try:
        raise Reject(f"no stock for {number}")
    except Reject as error:
        died = Circumstances(group="forebay", handler="shop:deal", attempts=1, error=error, at_ms=at_ms)
        return dead_letter(stood, died)


def test_topics_are_planned_and_made(forebay: Command) -> None:
    missing = forebay.run("topics", "plan", "--json", status=1).splitlines()
    made = forebay.rows("topics", "ensure")
    again = forebay.rows("topics", "ensure")

    assert [json.loads(line)["missing"] for line in missing] == [row["made"] for row in made]
    assert all(any(stream in row["made"] for row in made) for stream in names.streams(TOPIC))
    assert again == []
    assert forebay.rows("topics", "plan") == []


def test_tail_and_lag_show_what_is_there(forebay: Command) -> None:
    forebay.put(TOPIC, *(a_record(number) for number in range(3)))

    shown = forebay.rows("tail", "--from", "earliest", "--count", "3")
    lag = forebay.rows("lag")
    of_portal = forebay.rows("lag", "--portal", "HTTPS://One.Bitrix24.Example/")

    assert [row["data"]["FIELDS"]["ID"] for row in shown] == ["0", "1", "2"]
    assert len(lag) == forebay.settings.partitions
    assert sum(row["records"] for row in lag) == 3
    assert of_portal[0]["records"] == 3


@pytest.mark.parametrize("given", ["my_Robot", "MY_ROBOT", "my_*"])
def test_the_code_of_a_robot_is_found_in_any_letter_case(forebay: Command, given: str) -> None:
    made = event("my_Robot", kind="robot", portal="one.bitrix24.example")
    robot = Record(key=made.portal, value=codec().encode(made), timestamp_ms=1_772_366_400_000)
    forebay.put(names.dead(TOPIC), a_dead_record(1), dead(robot, 2, 1_772_366_500_000))

    listed = forebay.rows("dead", "list", "--event", given)

    assert [letter["name"] for letter in listed] == ["my_Robot"]


def test_dead_letters_are_shown_replayed_and_discarded(forebay: Command) -> None:
    forebay.put(names.dead(TOPIC), a_dead_record(1), a_dead_record(2), a_dead_record(3, "two.bitrix24.example"))
    listed = forebay.rows("dead", "list")
    chosen = next(row["id"] for row in listed if row["portal"] == "one.bitrix24.example")

    (shown,) = forebay.rows("dead", "show", chosen)
    page = forebay.run("dead", "show", chosen)
    would = forebay.rows("dead", "replay", "--all", "--dry-run")
    untouched = forebay.rows("dead", "list")
    forebay.run("dead", "replay", chosen)
    forebay.run("dead", "discard", "--portal", "two.bitrix24.example", "--error", "no stock", "--why", "sold out")
    left = forebay.rows("dead", "list")

    assert shown["event"]["data"] == {"FIELDS": {"ID": shown["error"].split()[-1]}}
    assert shown["handler"] == "shop:deal"
    assert "Reject" in shown["error_class"]
    assert "raise Reject" in page
    assert [set(row) for row in would] == [{"portal", "partition", "group", "stream", "records"}] * 2
    assert {row["portal"]: row["records"] for row in would} == {"one.bitrix24.example": 2, "two.bitrix24.example": 1}
    assert listed == untouched
    assert len(left) == 1
    (waiting,) = forebay.rows("parked", "list")
    assert (waiting["portal"], waiting["records"], waiting["ordered"]) == ("one.bitrix24.example", 1, "replay")
    assert [(row["what"], row["records"], row["why"]) for row in forebay.rows("audit")] == [
        ("replay", 1, None),
        ("discard", 1, "sold out"),
    ]


def test_nothing_is_replayed_without_a_filter(forebay: Command) -> None:
    from forebay.console.errors import WrongUsage

    forebay.put(names.dead(TOPIC), a_dead_record(1))

    for arguments in ([], ["--all", "--portal", "one.bitrix24.example"]):
        with pytest.raises(WrongUsage, match="--all"):
            forebay.run("dead", "replay", *arguments)


def test_the_quarantine_is_listed_and_discarded(forebay: Command) -> None:
    headers = ((names.QUARANTINE_ID, b"q-1"), (names.QUARANTINE_REASON, b"too_many_fields"))
    forebay.put(names.quarantine(TOPIC), Record(key="p.example", value=b"a=1&b=2", timestamp_ms=5, headers=headers))

    (listed,) = forebay.rows("quarantine", "list")
    (shown,) = forebay.rows("quarantine", "show", "q-1")
    assert forebay.run("quarantine", "replay", "--all", "--json", status=1).count("no_portal") == 1
    forebay.run("quarantine", "discard", "--all", "--yes")

    assert (listed["id"], listed["error_class"]) == ("q-1", "too_many_fields")
    assert shown["body"] == "a=1&b=2"
    assert forebay.rows("quarantine", "list") == []


def test_quarantined_calls_are_chosen_by_their_event(forebay: Command) -> None:
    told = {
        "read by the ingest": (names.QUARANTINE_NAME, b"ONCRMDEALADD"),
        "refused as it came out of the spool": (names.CE_TYPE, b"com.bitrix24.event.ONCRMLEADADD"),
        "a robot's": (names.QUARANTINE_NAME, b"my_Robot"),
        "not known": (names.QUARANTINE_REASON, b"max_fields"),
    }
    for id, header in told.items():
        headers = ((names.QUARANTINE_ID, id.encode()), header)
        forebay.put(names.quarantine(TOPIC), Record(key="p.example", value=b"a=1", timestamp_ms=5, headers=headers))

    listed = {row["id"]: row["name"] for row in forebay.rows("quarantine", "list")}
    of_events = [row["id"] for row in forebay.rows("quarantine", "list", "--event", "oncrm*")]
    stay = [row["id"] for row in forebay.rows_of(1, "quarantine", "replay", "--event", "MY_robot")]
    forebay.run("quarantine", "discard", "--event", "ONCRMLEADADD", "--yes")

    assert listed == dict(zip(told, ("ONCRMDEALADD", "ONCRMLEADADD", "my_Robot", None), strict=True))
    assert of_events == ["read by the ingest", "refused as it came out of the spool"]
    assert stay == ["a robot's"]
    assert len(forebay.rows("quarantine", "list")) == 3


def test_who_looks_into_the_quarantine_makes_no_store_of_portals(
    forebay: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_SEAL_KEYS", json.dumps({"k": "A" * 43 + "="}))
    headers = ((names.QUARANTINE_ID, b"q-1"), (names.QUARANTINE_REASON, b"too_many_fields"))
    forebay.put(names.quarantine(TOPIC), Record(key="p.example", value=b"a=1&b=2", timestamp_ms=5, headers=headers))

    (shown,) = forebay.rows("quarantine", "show", "q-1")
    forebay.run("quarantine", "replay", "--all", "--dry-run", status=1)

    assert shown["body"] == "a=1&b=2"
    assert f"stream {names.portals(TOPIC)}" in forebay.run("topics", "plan", status=1)


def test_doctor_finds_what_is_there_and_what_is_not(forebay: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_TOKENS", '{"*": "a secret token"}')
    before = {row["check"]: row for row in forebay.rows("doctor")}
    forebay.put(TOPIC, a_record(1))
    after = {row["check"]: row for row in forebay.rows("doctor")}

    assert before["queue"]["state"] == "warn"
    assert before["queue"]["remedy"] == "forebay topics ensure"
    assert before["queue"]["detail"].endswith("is not there yet; up, ingest and process make it when they start")
    assert after["queue"]["state"] == "ok"
    assert after["newest record"]["detail"].endswith("s old")
    assert after["setting tokens"]["detail"] == "{*: [***]} (FOREBAY_TOKENS)"
    assert after["auth /bitrix24"]["state"] == "ok"
    assert after["seal_keys"]["state"] == "warn"
    shown = forebay.run("doctor")
    assert "a secret token" not in str(after) + shown
    warned = sum(row["state"] == "warn" for row in after.values())
    assert shown.splitlines()[-1] == f"0 failed, {warned} to look at, {len(after) - warned} ok"


def test_doctor_has_nobody_set_keys_on_a_queue_that_refuses_them(forebay: Command) -> None:
    [nobodys] = free_ports(1)

    rows = forebay.run("--queue-url", f"memcached://127.0.0.1:{nobodys}", "doctor", "--json", status=1).splitlines()

    (keys,) = [row for row in map(json.loads, rows) if row["check"] == "seal_keys"]
    assert keys["state"] == "warn"
    assert (
        keys["remedy"]
        == "Memcached can't keep what is known of portals, since it may lose it at any time: another queue_url"
    )


def test_doctor_fails_where_the_queue_can_not_be_made(forebay: Command) -> None:
    rows = [
        json.loads(line)
        for line in forebay.run("--queue-url", "sqlite:////proc/x/q.db", "doctor", "--json", status=1).splitlines()
    ]

    (failed,) = [row for row in rows if row["state"] == "fail"]
    assert failed["detail"].startswith("/proc can't be written to")
    assert "set queue_url to another place" in failed["remedy"]


def test_dead_letters_are_listed_by_time(forebay: Command) -> None:
    portals = [f"portal-{number}.bitrix24.example" for number in range(20)]
    forebay.put(names.dead(TOPIC), *(a_dead_record(n, portal, at_ms=n) for n, portal in enumerate(portals)))

    assert [row["portal"] for row in forebay.rows("dead", "list")] == portals


def test_the_answer_to_a_file_is_one_object(forebay: Command, tmp_path: Path) -> None:
    (tmp_path / "body").write_text("a=1")
    [nobodys] = free_ports(1)

    (row,) = [
        json.loads(line)
        for line in forebay.run(
            "send", "--file", "body", "--json", "--url", f"http://127.0.0.1:{nobodys}/", status=1
        ).splitlines()
    ]

    assert row == {"status": 0, "answer": "connection refused"}


def test_handlers_are_listed(forebay: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "listed_shop.py").write_text(
        "print('the shop is open')\nfrom forebay import Handlers\nhandlers = Handlers()\n"
        "@handlers.on('ONCRM*', deadline_s=5)\nasync def deal(event): ...\n"
    )

    (row,) = forebay.rows("handlers", "listed_shop:handlers")

    assert (row["pattern"], row["kind"], row["handler"], row["async"]) == ("ONCRM*", "event", "listed_shop:deal", True)
    assert row["deadline_s"] == 5


def run(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "forebay.console.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--version"], 0, ""),
        (["lag"], 1, "/forebay-data/queue.db yet; `forebay topics ensure` makes it"),
        (
            ["--queue-url", "carrier-pigeon://x", "doctor"],
            2,
            "queue_url (from --queue-url): no queue is called 'carrier-pigeon'",
        ),
        (["--queue-url", "", "topics", "ensure"], 2, "--queue-url: is empty"),
        (["move", "@/dev/null", "sqlite:///q.db"], 2, "SOURCE: the settings can't be used:\n  - --queue-url: is empty"),
        (["move", "pigeon://x", "sqlite:///q.db"], 2, "forebay: SOURCE: the settings can't be used"),
        (["send", "--zipf", "nan"], 2, "--zipf: nan should be a number"),
        (["send", "--zipf", "-1"], 2, "--zipf: -1.0 should be a number"),
        (["send", "--url", "http://h:99999/"], 2, "should look like http://127.0.0.1:8080/bitrix24: Port out of range"),
        (["--queue-url", "sqlite:////proc/x/q.db", "up", "--bind", "127.0.0.1:0"], 1, "/proc/x/q.db can't be made"),
        (["tail", "--from", "yesterday"], 2, "'yesterday' is no time"),
        (["tail", "--portal", "a..b"], 2, "--portal: 'a..b' is not a portal's domain"),
        (["ingest", "--bind", "0.0.0.0:1"], 2, "auth: calls must be proved"),
        (["--queue-url", "memory://", "up"], 2, "memory:// is seen by one alone"),
        (["process", "nothing"], 2, "should be MODULE:OBJECT"),
        (["no-such-command"], 2, "No such command"),
        (["dead", "show", "x"], 1, "there is no queue at"),
        (["dead", "replay"], 2, "--all"),
        (["quarantine", "replay"], 2, "--all"),
        (["parked", "list"], 1, "there is no queue at"),
        (["parked", "list", "--reason", "tired"], 2, "there are failing, flooding, held, replay"),
        (["parked", "hold"], 2, "say which portals to hold: --portal, as often as you like"),
        (["parked", "resume", "--all", "--portal", "a.example"], 2, "or --all"),
        (["parked", "hold", "--all"], 2, "No such option"),
        (["replay", "--from", "-1h"], 2, "Missing option '--until'"),
        (["replay", "--from", "-1h", "--until", "-2h"], 2, "--from -1h is not before --until -2h"),
        (["audit", "--since", "yesterday"], 2, "'yesterday' is no time"),
    ],
)
def test_errors_are_a_line_and_a_status(tmp_path: Path, arguments: list[str], status: int, told: str) -> None:
    done = run(*arguments, cwd=tmp_path)

    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["lag"], ["dead", "list"], ["topics", "plan"], ["topics", "ensure"], ["doctor"]])
def test_a_queue_that_can_not_be_looked_for_is_none_that_is_yet_to_be_made(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "queue.db").symlink_to("queue.db")

    done = run("--queue-url", "sqlite:///queue.db", *command, cwd=tmp_path)

    assert done.returncode == 1
    assert f"SQLite says of {tmp_path}/queue.db: Too many levels of symbolic links" in done.stdout + done.stderr
    assert "yet" not in done.stdout + done.stderr


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = "{'pydantic', 'sqlalchemy', 'falcon', 'gunicorn', 'fastavro', 'structlog', 'uvloop', 'prometheus_client'}"
    script = (
        "import sys; from forebay.console.cli import build\n"
        "try: build()(['--help'])\n"
        f"except SystemExit: assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("up", "ingest", "process", "send", "tail", "dead", "doctor"))


def parameters_below(command: Any) -> Iterator[Any]:
    """Those of the command, and of all below it."""
    yield from command.params
    for one in getattr(command, "commands", {}).values():
        yield from parameters_below(one)


def test_a_question_can_be_answered_by_the_same_letter_everywhere() -> None:
    answers = [one.opts for one in parameters_below(typer.main.get_command(build())) if "--yes" in one.opts]

    assert len(answers) > 5
    assert all(one == ["--yes", "-y"] for one in answers)


@pytest.mark.parametrize(
    "command",
    [
        ["dead", "list"],
        ["dead", "replay", "--dry-run"],
        ["dead", "discard", "--dry-run"],
        ["quarantine", "list"],
        ["quarantine", "replay", "--dry-run"],
        ["audit"],
    ],
)
def test_a_span_that_ends_before_it_begins_is_refused(forebay: Command, command: list[str]) -> None:
    from forebay.console.errors import WrongUsage

    with pytest.raises(WrongUsage, match="--since -1h is not before --until -2h"):
        forebay.run(*command, "--since", "-1h", "--until", "-2h")


PRINTING = pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["keys", "new"]])


@PRINTING
def test_a_process_whose_output_finds_no_room_says_so(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "forebay.console.cli", *arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr == "forebay: standard output did not take everything: No space left on device\n"


@PRINTING
def test_a_process_whose_reader_has_gone_ends_without_a_word(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "forebay.console.cli", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")
