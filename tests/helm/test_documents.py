"""What stands beside the templates: the chart's own unit tests, its README, its version."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import yaml

from .chart import CHART, ROOT
from .released import changed_since_release
from .toolbox import run

CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))


def test_the_chart_s_unit_tests_pass() -> None:
    run("helm-unittest", "--strict", CHART)


def test_the_readme_of_the_chart_has_every_value_as_it_is(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "helm")

    run("helm-docs", "--chart-search-root", tmp_path / "helm", "--sort-values-order", "file")

    fresh = (tmp_path / "helm" / "README.md").read_text("utf-8")
    assert fresh == (CHART / "README.md").read_text("utf-8"), "run: make helm-docs"


def test_every_value_is_described() -> None:
    rows = [line for line in (CHART / "README.md").read_text("utf-8").splitlines() if line.startswith("| ")]

    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_chart_packs_without_what_is_for_tests(tmp_path: Path) -> None:
    run("helm", "package", CHART, "--destination", tmp_path)

    [package] = tmp_path.glob("*.tgz")
    listed = subprocess.run(["tar", "-tzf", package], capture_output=True, text=True, check=True).stdout.split()
    assert "forebay/templates/tests/send-event.yaml" in listed
    assert not [name for name in listed if name.startswith(("forebay/ci/", "forebay/tests/", "forebay/examples/"))]


def test_the_chart_is_for_the_program_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert CHART_YAML["appVersion"] == project["version"]


def test_a_version_of_the_chart_that_was_released_is_as_it_was() -> None:
    assert changed_since_release(ROOT, CHART_YAML["version"]) == []


def test_a_change_of_a_released_version_is_noticed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "helm").mkdir()
    (tmp_path / "helm" / "values.yaml").write_text("a: 1")
    git("init")
    git("add", ".")
    git("commit", "--message", "one")
    assert changed_since_release(tmp_path, "1.2.3") == []
    git("tag", "chart-1.2.3")
    assert changed_since_release(tmp_path, "1.2.3") == []

    (tmp_path / "helm" / "values.yaml").write_text("a: 2")

    assert changed_since_release(tmp_path, "1.2.3") == ["helm/values.yaml"]
    assert changed_since_release(tmp_path, "1.2.4") == []
