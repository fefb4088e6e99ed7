from collections import Counter
from dataclasses import replace

from forebay.console.traffic.load import Outcome
from forebay.console.traffic.report import Report
from forebay.console.traffic.send_audit import Audit


def a_report(answers: dict[str, int], audit: Audit | None, unchecked: str | None = None) -> Report:
    outcome = Outcome(answers=Counter(answers), seconds=2.0)
    outcome.latencies_s.extend([0.001] * sum(answers.values()))
    return Report(count=3, outcome=outcome, audit=audit, unchecked=unchecked)


def test_all_accepted_and_all_there_is_good() -> None:
    report = a_report({"200 accepted": 3}, Audit(accepted={}, numbers={}))

    assert report.good
    assert report.lines() == [
        "sent 3 of 3 in 2.0 s: 1.5 a second",
        "latency ms: p50 1.0, p90 1.0, p99 1.0, max 1.0",
        "answers:",
        "          3  200 accepted",
        "0 lost, 0 out of order",
    ]


def test_what_is_not_checked_is_said_and_is_no_failure() -> None:
    report = a_report({"200 accepted": 3}, None, "the queue is elsewhere")

    assert report.good
    assert report.lines()[-1] == "not checked: the queue is elsewhere"
    assert (report.row()["checked"], report.row()["lost"]) == (False, None)


def test_refused_unsent_lost_disordered_and_changed_are_failures() -> None:
    clean = Audit(accepted={}, numbers={})

    assert not a_report({"200 accepted": 2, "403 not_our_portal": 1}, clean).good
    assert not a_report({"200 accepted": 2}, clean).good
    assert not a_report({"200 accepted": 3}, replace(clean, accepted={"id": (0, 1)})).good
    assert not a_report({"200 accepted": 3}, replace(clean, out_of_order=1)).good
    assert not a_report({"200 accepted": 3}, replace(clean, changed=1)).good
    assert a_report({"200 accepted": 3}, replace(clean, twice=1)).good
