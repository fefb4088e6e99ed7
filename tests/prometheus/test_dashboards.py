"""The dashboards: Grafana takes them, Prometheus takes their queries, and what they ask for exists."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from .exposed import faults_of, labels
from .promtool import promtool
from .rules import ALERTS, ROOT

FILES = sorted((ROOT / "helm" / "files" / "dashboards").glob("*.json"))

#: Of Grafana 11; an older one can't read them, a newer one renews them.
SCHEMA = 39

Panel = dict[str, Any]


def board(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def panels(file: Path) -> list[Panel]:
    """Those that show something."""
    return [one for one in board(file)["panels"] if one["type"] != "row"]


def expressions(file: Path) -> list[str]:
    return [target["expr"] for panel in panels(file) for target in panel["targets"]]


def filled(expression: str) -> str:
    """The query as Grafana sends it."""
    return expression.replace("$namespace", "events").replace("$__rate_interval", "2m")


def test_there_is_a_dashboard_for_each_side_for_the_queue_and_for_what_goes_wrong() -> None:
    assert [file.stem for file in FILES] == [
        "forebay-failures",
        "forebay-ingest",
        "forebay-processors",
        "forebay-queue",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_prometheus_takes_every_query(file: Path, tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": filled(one)} for number, one in enumerate(expressions(file))]
    document = tmp_path / "rules.yaml"
    document.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    promtool("check", "rules", document)

    assert not any("$" in one["expr"] for one in rules)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_metric_and_label_of_a_dashboard_exists(file: Path) -> None:
    assert [
        fault for one in expressions(file) for fault in faults_of(filled(one).replace('=~"events"', '="events"'))
    ] == []
    named = {
        (label, panel["title"])
        for panel in panels(file)
        for target in panel["targets"]
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        if not re.search(rf"\b{label}\b", target["expr"])
    }
    assert {label for label, _ in named} <= {"pod", "instance"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard_is_for_any_data_source_and_any_namespace(file: Path) -> None:
    found = board(file)

    source = {"type": "prometheus", "uid": "${datasource}"}
    assert [one["name"] for one in found["templating"]["list"]] == ["datasource", "namespace"]
    assert found["templating"]["list"][0]["type"] == "datasource"
    # Where no target has a namespace, as on a laptop, all of them are taken.
    assert found["templating"]["list"][1]["allValue"] == ".*"
    assert (found["uid"], found["schemaVersion"]) == (file.stem, SCHEMA)
    for panel in panels(file):
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"])
    for expression in expressions(file):
        selectors = len(re.findall(r"forebay_\w+", expression))
        assert expression.count('namespace=~"$namespace"') == selectors, expression


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_panel_has_a_title_a_unit_and_a_place_of_its_own(file: Path) -> None:
    everything = board(file)["panels"]

    assert len({one["id"] for one in everything}) == len(everything)
    for panel in panels(file):
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"s", "short", "ops", "reqps", "percentunit"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    for one, other in combinations((panel["gridPos"] for panel in everything), 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_x or apart_y, (one, other)
    assert all(one["gridPos"]["x"] + one["gridPos"]["w"] <= 24 for one in everything)


@pytest.mark.parametrize("name", ALERTS)
def test_every_metric_and_label_of_an_alert_exists(name: str) -> None:
    assert faults_of(ALERTS[name]["expr"]) == []


@pytest.mark.parametrize("name", ALERTS)
def test_what_an_alert_looks_at_is_shown_on_the_dashboard_of_failures(name: str) -> None:
    shown = " ".join(expressions(FILES[0]))

    for metric in re.findall(r"forebay_[a-z_]+", ALERTS[name]["expr"]):
        assert metric in shown


@pytest.mark.parametrize(
    "wrong",
    [
        "forebay_nothing{}",
        'forebay_spool_bytes{partition="1"}',
        'forebay_rebalances_total{change="moved"}',
        "sum by (portal) (forebay_lag_records{})",
        'rate(forebay_ingest_requests_total{outcome=~"accepted|lost"}[5m])',
    ],
)
def test_what_does_not_exist_is_noticed(wrong: str) -> None:
    assert len(faults_of(wrong)) == 1


def test_no_metric_has_a_label_for_a_portal() -> None:
    every = set().union(*labels().values())

    assert every <= {
        *("endpoint", "outcome", "status", "version", "group", "handler", "reason", "change", "partition", "le"),
        *("stage", "certificate", "state"),
    }
