"""The chart's rule file, and what is written in it."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "helm" / "files" / "rules" / "alerts.yaml"
TEXT = FILE.read_text("utf-8")

#: Name → rule.
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(TEXT)["groups"] for rule in group["rules"]
}

#: Name of a threshold → its defaults in the file.
THRESHOLDS: dict[str, set[float]] = {}
for _number, _name in re.findall(r"([0-9.]+) # (\w+)$", TEXT, re.MULTILINE):
    THRESHOLDS.setdefault(_name, set()).add(float(_number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An alert, a world in which it comes at a time, what it says then, and worlds in which it must not come."""

    alert: str
    #: Series → values, as promtool writes them, so far apart.
    world: dict[str, str]
    every: str = "1m"
    at: str
    says: str
    labels: dict[str, str] = field(default_factory=dict)
    #: A time at which it is true, and not for long enough; for an alert that waits.
    not_yet: str = ""
    #: Each at the time at which the first would come.
    quiet: tuple[dict[str, str], ...] = ()

    def document(self, rules: Path) -> dict[str, Any]:
        """The case as promtool reads it."""
        annotations = {**ALERTS[self.alert]["annotations"], "description": self.says}
        fires = [{"exp_labels": {**ALERTS[self.alert]["labels"], **self.labels}, "exp_annotations": annotations}]
        tests = [self._test(self.world, self.at, fires), *(self._test(world, self.at, []) for world in self.quiet)]
        tests += [self._test(self.world, self.not_yet, [])] if self.not_yet else []
        return {"rule_files": [str(rules)], "evaluation_interval": self.every, "tests": tests}

    def _test(self, world: dict[str, str], at: str, expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": self.every,
            "input_series": [{"series": series, "values": values} for series, values in world.items()],
            "alert_rule_test": [{"eval_time": at, "alertname": self.alert, "exp_alerts": expected}],
        }
