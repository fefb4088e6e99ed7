"""The chart, its sets of values, and what Helm makes of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .toolbox import run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm"

#: Sets of values that must work: installed on a cluster, and those that people start from.
CI = sorted((CHART / "ci").glob("*-values.yaml"))
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))

#: A renderer without a cluster must be told which one it is for.
KUBE_VERSION = ("--kube-version", "1.37.0")

Object = dict[str, Any]


def rendered(values: Sequence[Path | Mapping[str, Any]], *, release: str = "app", helm: str = "helm") -> str:
    """The chart's objects with these values, the later over the former, as text."""
    done = attempted(values, release=release, helm=helm)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def attempted(values: Sequence[Path | Mapping[str, Any]], *, release: str = "app", helm: str = "helm") -> Any:
    """The same, where it may be refused."""
    files = [part for one in values if isinstance(one, Path) for part in ("--values", str(one))]
    given = [one for one in values if not isinstance(one, Path)]
    # One table is read from the standard input: a test writes no files for it.
    more = ["--values", "-"] if given else []
    text = yaml.safe_dump(given[0]) if given else ""
    return run(
        helm, "template", release, CHART, *files, *more, "--namespace", "events", *KUBE_VERSION, given=text, check=False
    )


def refusal(values: Mapping[str, Any], *, over: Path | None = None) -> str:
    """Why Helm takes these values not."""
    done = attempted([over, values] if over else [values])
    assert done.returncode != 0, "these values were taken"
    return str(done.stderr)


def objects(text: str) -> list[Object]:
    """The objects of a rendering, hooks too."""
    return [one for one in yaml.safe_load_all(text) if one]


def named(found: Sequence[Object], kind: str, name: str) -> Object:
    """One of them."""
    [one] = [one for one in found if one["kind"] == kind and one["metadata"]["name"] == name]
    return one


def of_kind(found: Sequence[Object], kind: str) -> list[Object]:
    """All of a kind."""
    return [one for one in found if one["kind"] == kind]


def pod_of(one: Object) -> Object | None:
    """The pod's metadata and spec in an object that makes pods."""
    if one["kind"] == "Pod":
        return one
    template: Object | None = one.get("spec", {}).get("template")
    return template if one["kind"] in ("Deployment", "StatefulSet", "Job") else None
