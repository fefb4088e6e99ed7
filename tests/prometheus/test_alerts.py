"""Every alert comes when it should, stays away when it should, and says what to read."""

import re
from pathlib import Path

import pytest
import yaml

from tests.helm.chart import CHART, objects, of_kind, rendered

from .cases import CASES
from .promtool import promtool
from .rules import ALERTS, FILE, ROOT, TEXT, THRESHOLDS, Case

RUNBOOKS = ROOT / "docs" / "runbooks"


def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", FILE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_comes_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    document = tmp_path / "test.yaml"
    document.write_text(yaml.safe_dump(case.document(FILE)))

    promtool("test", "rules", document)


def test_every_alert_has_its_case_with_a_world_in_which_it_stays_away() -> None:
    assert list(dict.fromkeys(case.alert for case in CASES)) == list(ALERTS)
    assert all(case.quiet for case in CASES)
    assert all(bool(case.not_yet) == ("for" in ALERTS[case.alert]) for case in CASES)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_how_grave_it_is_and_has_a_runbook_of_its_name(name: str) -> None:
    alert = ALERTS[name]

    assert alert["labels"] == {"severity": alert["labels"]["severity"]}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert (RUNBOOKS / f"{name}.md").is_file()


def test_the_chart_s_values_have_every_threshold_with_the_default_of_the_file() -> None:
    values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text("utf-8"))

    given = values["monitoring"]["prometheusRule"]["thresholds"]

    assert {name: {float(value)} for name, value in given.items()} == THRESHOLDS


def test_every_selector_has_braces_for_the_release() -> None:
    used = re.findall(r"forebay_\w+", "\n".join(alert["expr"] for alert in ALERTS.values()))
    selectors = re.findall(r"(forebay_[a-z_]+)\{", TEXT)

    assert sorted(selectors) == sorted(used)


def test_prometheus_takes_what_the_chart_makes_of_the_rules(tmp_path: Path) -> None:
    values = CHART / "ci" / "full-values.yaml"
    [rule] = of_kind(objects(rendered([values])), "PrometheusRule")
    (document := tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))

    promtool("check", "rules", document)

    made = {one["alert"]: one for group in rule["spec"]["groups"] for one in group["rules"]}
    assert list(made) == list(ALERTS)
    assert 'namespace="events",pod=~"app-forebay-.+",' in made["ForebayLagging"]["expr"]
    assert "> 600 # lagSeconds" in made["ForebayLagNotDraining"]["expr"]
    assert "> 6 * 0.0005 # errorBudget" in made["ForebayAnswersBudgetBurnsSlowly"]["expr"]
    assert "> 0.5 * 1209600 # retentionSeconds" in made["ForebayRetentionRisk"]["expr"]
    books = {one["annotations"]["runbook_url"] for one in made.values()}
    assert books == {f"https://example.com/forebay/docs/runbooks/{name}.md" for name in ALERTS}


def test_the_laptop_s_prometheus_has_the_same_rules() -> None:
    mounted = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]["prometheus"]["volumes"]

    promtool("check", "config", "--syntax-only", ROOT / "compose" / "prometheus.yml")
    [folder] = {one.split(":")[1] for one in mounted if one.startswith("./helm/files/rules:")}
    read = yaml.safe_load((ROOT / "compose" / "prometheus.yml").read_text("utf-8"))["rule_files"]
    assert read == [f"{folder}/*.yaml"]
