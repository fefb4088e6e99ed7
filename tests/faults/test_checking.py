"""The checker finds what is wrong, and the report says it."""

from collections.abc import Sequence
from pathlib import Path
from time import time

import pytest

from forebay.ingest.spool.counts import Counts
from tests.e2e.site import Site

from .checking import all_open, examine
from .hosts import folder_of, is_flowing
from .reporting import Report, Row
from .stand import SHORT, Stand

KEPT = {"a": ["x#1", "y#2", "z#4"], "b": ["u#1"]}
GOOD = {"a": ["x#1", "y#2", "w#3", "z#4"], "b": ["u#1"]}

_LINE = '{{"event": "{event}", "timestamp": "1970-01-01T00:00:0{at}+00:00"}}\n'


def test_a_queue_with_everything_in_order_is_good() -> None:
    found = examine(KEPT, GOOD, denied={"b": {2}}, told={"b": 1}, handled={"x#1", "y#2", "z#4", "u#1"})

    assert found.good
    assert not found.doubled


@pytest.mark.parametrize(
    ("standing", "wrong", "events"),
    [
        (GOOD | {"b": []}, "lost", {"b": ["u#1"]}),
        (GOOD | {"b": ["u#2"]}, "lost", {"b": ["u#1"]}),
        (GOOD | {"a": ["y#2", "x#1", "z#4"]}, "out_of_order", {"a": ["x#1"]}),
        (GOOD | {"a": ["z#4", "x#1", "y#2"]}, "out_of_order", {"a": ["x#1", "y#2"]}),
        (GOOD | {"b": ["u#1", "v#3"]}, "denied", {"b": ["v#3"]}),
    ],
)
def test_what_is_wrong_is_named_portal_by_portal(
    standing: dict[str, list[str]], wrong: str, events: dict[str, list[str]]
) -> None:
    found = examine(KEPT, standing, denied={"b": {3}}, told={"b": 1})

    assert not found.good
    assert getattr(found, wrong) == events


def test_what_stands_twice_is_counted_and_its_second_place_breaks_no_order() -> None:
    found = examine(KEPT, GOOD | {"a": ["x#1", "y#2", "x#1", "x#1", "z#4"]})

    assert found.good
    assert found.doubled == {"a": ["x#1", "x#1"]}


def test_what_no_handler_has_seen_is_named() -> None:
    assert examine(KEPT, GOOD, handled={"x#1", "y#2", "z#4"}).unseen == {"b": ["u#1"]}


def test_a_refused_call_of_which_its_portal_was_not_told_is_named() -> None:
    refused = {"b": {2, 3}, "c": {1}}

    found = examine(KEPT, GOOD, denied=refused, told={"b": 1, "c": 1})

    assert (found.good, found.untold) == (False, {"b": ["#2", "#3"]})
    assert examine(KEPT, GOOD, denied=refused, told={"b": 2, "c": 1}).good


def test_what_quarantine_has_is_not_lost() -> None:
    assert examine(KEPT, GOOD | {"b": []}, aside={"u"}).good


@pytest.mark.parametrize(
    ("said", "window"),
    [
        ([(1, True), (2, True)], (2, 9)),
        ([(1, True), (2, True), (3, False), (4, False), (5, True), (6, True)], (2, 3)),
        # As in a rolling restart: one after the other, and never all of them at once.
        ([(1, True), (2, False), (3, True), (4, False)], None),
        # One has died, and another one has come in its place.
        ([(1, True), (2, True), (3, True), (5, False)], (2, 5)),
        ([], None),
    ],
)
def test_the_queue_is_known_to_be_gone_while_all_know_it(
    said: list[tuple[float, bool]], window: tuple[float, float] | None
) -> None:
    assert all_open(said, 2, 9) == window


def test_what_an_ingest_knew_before_it_was_killed_counts_as_long_as_what_the_next_one_knows(tmp_path: Path) -> None:
    site, lines = Site(folder=tmp_path, port=0), tmp_path / "ingest.log"
    stand = Stand(sites=[site], size=SHORT, report=Report(data=lines, text=lines), processes=1)
    stand.began, stand.ended = 0.0, 9.0
    site.start("ingest", "--help").wait()
    lines.write_text(_LINE.format(at=1, event="the queue takes nothing; events go to the spool"))
    site.start("ingest", "--help").wait()
    lines.write_text(_LINE.format(at=5, event="the queue takes nothing; events go to the spool"))

    assert stand._open() == (1, 9)


class LateSite(Site):
    """Its queue takes nothing; each look at it writes these lines."""

    lines: Sequence[str] = ()

    def parts(self) -> dict[str, str]:
        with (self.folder / "ingest.log").open("a", encoding="utf-8") as log:
            log.writelines(self.lines)
        return {"queue": "it did not acknowledge within 200 ms"}


@pytest.fixture
def late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LateSite, Stand]:
    """With a second to recover in."""
    monkeypatch.setattr("tests.faults.stand.RECOVERY_S", 1.0)
    monkeypatch.setattr("tests.faults.stand._IN_THE_END_S", 0.5)
    site, log = LateSite(folder=tmp_path, port=0), tmp_path / "ingest.log"
    log.touch()
    return site, Stand(sites=[site], size=SHORT, report=Report(data=log, text=log))


async def test_an_ingest_may_be_unwell_while_its_queue_is_late_again_and_again_whatever_its_clock_says(
    late: tuple[LateSite, Stand],
) -> None:
    site, stand = late
    # Of a clock that was set back.
    site.lines = [_LINE.format(at=1, event="the queue takes nothing; events go to the spool")]

    await stand._recovered()

    assert stand.recovered_s is None


async def test_an_ingest_that_stands_still_is_told(late: tuple[LateSite, Stand]) -> None:
    _, stand = late

    with pytest.raises(AssertionError, match="not well under the load"):
        await stand._recovered()


def test_a_run_replaces_the_rows_of_its_own_faults_alone(tmp_path: Path) -> None:
    report = Report(data=tmp_path / "build" / "faults.json", text=tmp_path / "faults.md")
    for row in (
        Row(fault="cut", events=1),
        Row(fault="full", is_made=False, note="no disk"),
        Row(fault="cut", events=7),
    ):
        report.add(row)

    table = [line for line in report.text.read_text("utf-8").splitlines() if line.startswith("|")]
    assert table[2].startswith("| cut | 7 | 0 | 0 | 0 | 0 / 0 |")
    assert table[3].startswith("| full | not made here |")
    assert len(table) == 4
    assert "- **full**: no disk" in report.text.read_text("utf-8")


@pytest.mark.parametrize(
    ("queue", "age_s", "flows"),
    [("ok", 1, True), ("ok", 60, False), ("ok", None, False), ("it did not answer", 1, False)],
    ids=["just come", "stuck", "nobody drains", "no queue"],
)
def test_a_spool_flows_as_long_as_what_it_holds_has_just_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str, age_s: int | None, flows: bool
) -> None:
    site = Site(folder=tmp_path, port=1, settings={"data_dir": str(tmp_path)})
    monkeypatch.setattr(Site, "parts", lambda site: {"queue": queue, "spool": "holds 9 events for the queue"})
    folder_of(site).mkdir()
    Counts(folder_of(site) / "counts").oldest_ms = round((time() - age_s) * 1000) if age_s else 0

    assert is_flowing(site, 30) is flows
