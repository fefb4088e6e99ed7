"""What running processes have shown, as series in which promtool looks for an alert."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from .promtool import promtool
from .rules import ALERTS

#: How often it is scraped, as the series have it: the times alone are not real.
_EVERY = "1m"

#: A series with its labels → its value.
Scrape = dict[str, float]


def scrape(shown: Mapping[str, str], job: str = "crm") -> Scrape:
    """What the instances show, under the labels that Prometheus gives them; one that is away shows nothing."""
    return {
        _series(sample.name, sample.labels | {"job": job, "instance": instance}): sample.value
        for instance, text in shown.items()
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _series(name: str, labels: Mapping[str, str]) -> str:
    given = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{given}}}"


def fires(alert: str, scrapes: Sequence[Scrape], folder: Path, *, at_m: int, began: float = 0, **labels: str) -> bool:
    """Whether the rule, of the chart's file as it is, makes the alert at that minute: one of the labels, or none.

    After the last scrape everything stays as it is. What is a time is one since it `began`, and 0, never,
    long before.
    """
    rule = {**ALERTS[alert], "annotations": {}}
    series = {
        one: _values(one, scrapes, at_m, began)
        for one in sorted(set().union(*scrapes))
        if one.partition("{")[0] in rule["expr"]
    }
    expected = {"exp_labels": rule["labels"] | {"job": "crm", **labels}, "exp_annotations": {}}
    comes = _is_so(rule, series, [expected], at_m, folder)
    assert comes is None or _is_so(rule, series, [], at_m, folder) is None, comes
    return comes is None


def _is_so(
    rule: dict[str, Any], series: Mapping[str, str], expected: list[dict[str, Any]], at_m: int, folder: Path
) -> str | None:
    """What promtool says against it; None where these alerts come and no other ones."""
    (rules := folder / "rule.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    test = {
        "interval": _EVERY,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{at_m}m", "alertname": rule["alert"], "exp_alerts": expected}],
    }
    document = {"rule_files": [str(rules)], "evaluation_interval": _EVERY, "tests": [test]}
    (file := folder / "test.yaml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", file, check=False)
    return (done.stdout + done.stderr) if done.returncode else None


def _values(series: str, scrapes: Sequence[Scrape], at_m: int, began: float) -> str:
    since = began if "_timestamp_seconds{" in series else 0
    given = [repr(one[series] - since) if series in one else "_" for one in scrapes]
    return " ".join([*given, *[given[-1]] * (at_m + 1 - len(given))])
