"""The options of a registration: what can't work is refused at once, with every fault named."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from forebay.processors.budgets import Budget
from forebay.processors.errors import BadHandler
from forebay.processors.options import Options


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(BadHandler) as refused:
        Options.checked({"kind": "robots", "deadline_s": 0, "batch_wait_s": 1.0, "burst": 3, "color": "red"})

    for what in ("no kind 'robots'", "deadline_s=0", "say batch", "say rate", "no option color; there are kind, group"):
        assert what in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch": 0}, "a batch has 1 to 1000 events"),
        ({"batch": 5, "batch_wait_s": -1}, "waits for 0 to 60 seconds"),
        ({"coalesce": "deal"}, 'say "entity", or give a function'),
        ({"coalesce": "entity", "kind": "robot"}, "names no entity"),
        ({"rate": "2"}, 'a rate is calls a second, minute or hour: "2/s"'),
        ({"rate": "0/s"}, "a rate is calls"),
        ({"rate": 2}, "a rate is calls"),
        ({"rate": "2/s", "burst": 0}, "at least one call"),
        ({"rate": Budget("rest", "2/s"), "burst": 3}, "burst belongs into the Budget"),
    ],
)
def test_what_can_t_be_or_doesn_t_combine_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(BadHandler, match=says):
        Options.checked(given)


@pytest.mark.parametrize(("rate", "per_s", "burst"), [("2/s", 2.0, 2), ("90/min", 1.5, 2), ("1800 / h", 0.5, 1)])
def test_a_rate_is_a_number_of_calls_in_a_time_and_its_burst_is_a_second_s_worth(
    rate: str, per_s: float, burst: int
) -> None:
    budget = Budget("rest", rate)

    assert (budget.per_s, budget.burst) == (per_s, burst)
    assert Budget("rest", rate, burst=50).burst == 50


def test_the_document_tells_every_option() -> None:
    document = (Path(__file__).parents[3] / "docs" / "handlers.md").read_text("utf-8")
    table = " ".join(re.findall(r"^\| (`[^|]*) \|", document, re.MULTILINE))

    # What is refused as not there yet is nothing to be told about.
    there = [one.name for one in fields(Options) if one.name not in ("group", "dedup", "cpu")]
    assert [name for name in there if f"`{name}`" not in table] == []


def test_a_budget_that_can_t_be_says_so() -> None:
    with pytest.raises(BadHandler, match="a rate is calls"):
        Budget("rest", "two a second")
