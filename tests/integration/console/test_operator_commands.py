"""The commands of a bad night, as one calls them, while a worker works on the same SQLite queue."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from forebay import Reject
from forebay.console.orders.writer import OrderWriter
from forebay.console.planning import counted
from forebay.queues.contract import Record
from forebay.schemas import names

from .night import Night

A, B, WELL = (f"{name}.bitrix24.example" for name in ("a", "b", "well"))
DOWN = ConnectionError("the shop is down")

#: Parked after one try, and then left alone for longer than a test takes.
PARKS: dict[str, Any] = {"tries": 30, "memory_tries": 1, "park_first_s": 3600.0, "park_longest_s": 3600.0}

LETTER_KEYS = {"id", "portal", "name", "error", "error_class", "attempts", "partition", "offset", "at"}
PARKED_KEYS = {"portal", "partition", "group", "reason", "records", "since", "next_due", "attempts", "error"} | {
    "error_class",
    "held",
    "ordered",
}
PLAN_KEYS = {"portal", "partition", "group", "stream", "records"}
AUDIT_KEYS = {"at", "who", "what", "portal", "group", "stream", "records", "why", "partition", "offset"}


def test_dead_letters_are_planned_replayed_and_audited(night: Night) -> None:
    night.program.errors = {A: Reject("no stock"), B: Reject("no stock")}
    night.do(night.site.send(A, 1, 2))
    night.do(night.site.send(B, 1))
    night.start()
    letters = night.until_rows(lambda rows: len(rows) == 3, "dead", "list")
    night.program.errors.clear()

    plan = night.command("dead", "replay", "--portal", A, "--dry-run", "--rate", "0.5")
    untouched = night.rows("dead", "list")
    (named,) = night.rows("dead", "replay", "--portal", A, "--why", "stock came", "--yes")
    told = night.command("dead", "replay", "--all", "--rate", "1000", "--yes")
    audit = night.rows("audit")
    of_portal = night.rows("audit", "--portal", B, "--since", "-1h")

    assert {frozenset(row) for row in letters} == {frozenset(LETTER_KEYS)}
    assert "replay: 2 records of 1 portal; at 0.5 a second about 4 s" in plan.stderr
    assert untouched == letters
    assert set(named) == PLAN_KEYS
    assert (named["portal"], named["records"]) == (A, 2)
    assert told.exit_code == 0
    assert "1 of 1 record of 1 portal handled" in told.stderr
    assert night.program.handled == {A: [1, 2], B: [1]}
    assert {frozenset(row) for row in audit} == {frozenset(AUDIT_KEYS)}
    assert [(row["portal"], row["what"], row["why"]) for row in audit] == [
        (A, "replay", "stock came"),
        (B, "replay", None),
    ]
    assert [row["portal"] for row in of_portal] == [B]
    assert night.rows("audit", "--until", "-1h") == []


def test_a_replay_in_which_events_die_again_fails(night: Night) -> None:
    night.program.errors = {A: Reject("no stock")}
    night.do(night.site.send(A, 1))
    night.start()
    night.until_rows(len, "dead", "list")

    done = night.command("dead", "replay", "--all", "--yes")

    assert done.exit_code == 1
    assert "1 event died again: forebay dead list" in done.stderr


def test_ctrl_c_ends_a_replay_between_two_portals_and_the_next_one_goes_on(night: Night) -> None:
    portals = [f"p{number}.bitrix24.example" for number in range(4)]
    night.program.errors = {portal: Reject("no stock") for portal in portals}
    for portal in portals:
        night.do(night.site.send(portal, 1, 2))
    night.start()
    night.until_rows(lambda rows: len(rows) == 8, "dead", "list")
    night.program.errors.clear()
    interrupted = threading.Thread(target=interrupt_after, args=(lambda: night.program.calls == 8 + 2,))
    interrupted.start()

    # Two letters a portal: the second portal's turn is in half an hour.
    first = night.command("dead", "replay", "--all", "--yes", "--rate", "0.001")
    interrupted.join()
    ordered = night.rows("audit")
    second = night.command("dead", "replay", "--all", "--yes")

    assert first.exit_code == 1
    assert "stopped: 6 records of 3 portals not ordered; run the same again, and it goes on with these" in first.stderr
    assert len(ordered) == 1
    assert second.exit_code == 0
    assert night.program.handled == {portal: [1, 2] for portal in portals}
    assert night.program.calls == 8 + 8


def interrupt_after(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_portals_are_listed_held_resumed_and_discarded(night: Night) -> None:
    night.program.errors = {A: DOWN, B: DOWN}
    night.do(night.site.send(A, 1, 2))
    night.do(night.site.send(B, 1))
    night.start(**PARKS)
    waits = {A: 2, B: 1}
    listed = night.until_rows(lambda rows: {row["portal"]: row["records"] for row in rows} == waits, "parked", "list")
    night.do(night.site.all_committed())
    lag = night.rows("lag")
    of_portal = night.rows("parked", "list", "--portal", B, "--reason", "failing", "--group", "forebay")
    night.program.errors.clear()

    would = night.rows("parked", "discard", "--all", "--dry-run")
    resumed = night.command("parked", "resume", "--portal", A, "--portal", "nobody.bitrix24.example")
    # That it was ordered is known before all that follows from it is through.
    night.until_rows(lambda rows: [row["portal"] for row in rows] == [B], "parked", "list")
    discarded = night.command("parked", "discard", "--all", "--why", "too old", "--yes")
    held = night.command("parked", "hold", "--portal", WELL)
    (letter,) = night.until_rows(len, "dead", "list")
    rows = night.until_rows(lambda rows: [row["portal"] for row in rows] == [WELL], "parked", "list")

    assert {frozenset(row) for row in listed} == {frozenset(PARKED_KEYS)}
    assert sum(row["parked"] for row in lag) == 3
    assert sum(row["records"] for row in lag) == 0
    assert [row["portal"] for row in of_portal] == [B]
    assert {row["portal"] for row in would} == {A, B}
    assert "not parked in group forebay, and left alone: nobody.bitrix24.example" in resumed.stderr
    assert "resume: ordered for 1 portal, obeyed for 1" in resumed.stderr
    assert discarded.exit_code == 0
    assert letter["portal"] == B
    assert "too old" in letter["error"]
    assert "not parked now, so what comes next will wait" in held.stderr
    assert (rows[0]["held"], rows[0]["reason"], rows[0]["records"]) == (True, "held", 0)
    assert night.program.handled[A] == [1, 2]
    assert [row["what"] for row in night.rows("audit")] == ["resume", "discard", "hold"]


def test_without_a_worker_it_is_said_that_orders_wait_for_one(night: Night) -> None:
    held = night.command("parked", "hold", "--portal", A)
    nothing = night.command("parked", "resume", "--portal", B)
    resumed = night.command("parked", "resume", "--all", "--no-wait")
    (row,) = night.rows("parked", "list")

    assert held.exit_code == resumed.exit_code == 0
    assert "obeyed for 0" in held.stderr
    assert "no worker of group forebay has partitions" in held.stderr
    assert nothing.exit_code == 1
    assert row["ordered"] == "hold, resume"


def test_an_order_for_a_group_that_is_none_says_which_there_are(night: Night) -> None:
    night.do(night.site.send(A, 1))
    night.start()
    night.until_rows(lambda rows: all(row["records"] == 0 for row in rows), "lag")

    held = night.command("parked", "hold", "--portal", A, "--group", "typo", "--no-wait")
    meant = night.command("parked", "hold", "--portal", A)

    assert "nobody ever read as group typo, but forebay did: is the group right (--group)?" in held.stderr
    assert (held.exit_code, meant.exit_code) == (1, 0)


def test_a_span_is_replayed_by_the_command(night: Night) -> None:
    night.do(night.site.send(A, 1, 2, 3))
    night.start()
    night.do(night.site.all_committed())
    night.program.forget()
    span = ("--from", "-2d", "--until", "-1h")

    (plan,) = night.rows("replay", *span, "--portal", A, "--dry-run")
    done = night.command("replay", *span, "--event", "ONCRM*", "--why", "a bug is mended")
    again = night.command("replay", *span)
    (row,) = night.rows("replay", *span, "--again", "--dry-run")
    other = night.command("replay", *span, "--group", "statistics")

    assert set(plan) == PLAN_KEYS
    assert done.exit_code == again.exit_code == 0
    assert night.program.handled == {A: [1, 2, 3]}
    assert "3 events left out, named by earlier replays (the last by " in again.stderr
    assert "'a bug is mended'); --again takes them too" in again.stderr
    assert "nothing found" in again.stderr
    assert row["records"] == 3
    assert "3 events left out, which the group has not finished: they come anyway" in other.stderr


def test_the_quarantine_is_replayed_by_the_command(night: Night) -> None:
    good = f"event=ONCRMDEALADD&data[FIELDS][ID]=7&auth[domain]={A}".encode()
    calls = {"good": good, "bad": b"event=ONCRMDEALADD&data" + b"[a]" * 40 + b"=1&auth[domain]=" + A.encode()}
    for id, body in calls.items():
        headers = ((names.QUARANTINE_ID, id.encode()), (names.QUARANTINE_REASON, b"max_fields"))
        call = Record(key=A, value=body, timestamp_ms=int(time.time() * 1000), headers=headers)
        night.do(night.site.producer.send(names.quarantine(night.settings.topic), call))
    night.start()

    would = night.rows("quarantine", "replay", "--all", "--dry-run", status=1)
    untouched = night.rows("quarantine", "list")
    done = night.command("quarantine", "replay", "--all", "--why", "larger limits", "--json")
    (left,) = night.rows("quarantine", "list")
    night.do(night.site.all_committed())

    assert {frozenset(row) for row in [*would, left]} == {frozenset(LETTER_KEYS)}
    assert [(row["id"], row["error_class"]) for row in would] == [("bad", "max_depth")]
    assert len(untouched) == 2
    assert done.exit_code == 1
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["bad"]
    assert "1 event stand" not in done.stderr
    assert left["id"] == "bad"
    assert night.program.handled == {A: [7]}
    assert [(row["what"], row["group"], row["records"]) for row in night.rows("audit")] == [("replay", None, 1)]


def interrupted_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, when so many orders were written."""
    written, write = [0], OrderWriter._write

    async def _write(self: OrderWriter, given: Any, partition: int) -> Any:
        done = await write(self, given, partition)
        written[0] += 1
        if written[0] == number:
            os.kill(os.getpid(), signal.SIGINT)
        return done

    monkeypatch.setattr(OrderWriter, "_write", _write)


def test_ctrl_c_ends_orders_between_two_portals_and_the_rest_is_told(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    portals = [f"p{number}.bitrix24.example" for number in range(200)]
    named = [option for portal in portals for option in ("--portal", portal)]
    interrupted_at(3, monkeypatch)

    first = night.command("parked", "hold", *named, "--no-wait")
    ordered = len(night.rows("audit"))
    second = night.command("parked", "hold", *named, "--no-wait")

    assert (first.exit_code, second.exit_code) == (1, 0)
    assert 3 <= ordered < 200
    assert f"stopped, and not ordered for {200 - ordered} portals; run the same again" in first.stderr
    assert f"hold: ordered for {counted(ordered, 'portal')}, obeyed for 0" in first.stderr
    assert "hold: ordered for 200 portals, obeyed for 0" in second.stderr


def test_ctrl_c_ends_a_discard_and_what_is_left_is_told_and_discarded_by_the_next(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        letter = Record(key=f"p{number}.bitrix24.example", value=b"", timestamp_ms=1)
        night.do(night.site.producer.send(names.dead(night.settings.topic), letter))
    interrupted_at(3, monkeypatch)

    first = night.command("dead", "discard", "--all")
    left = len(night.rows("dead", "list"))
    second = night.command("dead", "discard", "--all")

    assert (first.exit_code, second.exit_code) == (1, 0)
    assert 0 < left < 300
    assert f"stopped: {300 - left} discarded, {left} records of {left} portals left; run the same again" in first.stderr
    assert f"{left} dead letters discarded" in second.stderr


def test_ctrl_c_ends_a_replay_of_the_quarantine_and_nothing_is_sent_twice(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        body = f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]={A}".encode()
        headers = ((names.QUARANTINE_ID, f"q-{number}".encode()), (names.QUARANTINE_REASON, b"max_fields"))
        call = Record(key=A, value=body, timestamp_ms=1, headers=headers)
        night.do(night.site.producer.send(names.quarantine(night.settings.topic), call))
    interrupted_at(1, monkeypatch)

    first = night.command("quarantine", "replay", "--all")
    sent = len(night.do(night.site.records(night.settings.topic)))
    second = night.command("quarantine", "replay", "--all")

    assert (first.exit_code, second.exit_code) == (1, 0)
    assert 0 < sent < 200
    assert f"stopped: {sent} events sent, {200 - sent} calls left; run the same again" in first.stderr
    assert len(night.do(night.site.records(night.settings.topic))) == 200


def test_a_question_is_no_line_of_what_a_program_reads(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = Record(key=A, value=b"", timestamp_ms=1)
    night.do(night.site.producer.send(names.dead(night.settings.topic), letter))
    monkeypatch.setattr("forebay.console.terminal.asking.on_terminal", lambda stream: True)

    done = night.command("dead", "discard", "--all", "--json", given="n\n")

    assert done.exit_code == 1
    assert "discard them?" in done.stderr
    assert "discard them?" not in done.stdout
    assert len(night.rows("dead", "list")) == 1


def test_doctor_tells_of_a_group_that_would_begin_anew_where_another_one_has_worked(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warned(*options: str) -> list[str]:
        checks = {"group crm", "group forebay"}
        return [row["detail"] for row in night.rows("doctor", *options) if row["check"] in checks]

    night.do(night.site.send("one.bitrix24.example", 1))
    before = warned()
    night.start()
    night.do(night.site.all_committed())
    same = warned()
    monkeypatch.setenv("FOREBAY_GROUP", "crm")

    topic = night.settings.topic
    assert (before, same) == ([], [])
    told = f"has never read {topic}, and forebay did: it begins with the oldest event"
    assert (warned(), warned("--side", "ingest")) == ([told], [])
