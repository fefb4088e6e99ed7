"""kubeconform, without a network: Kubernetes' own schemas, and those of the kinds in crds/."""

import json
from pathlib import Path
from typing import Any

from .cluster import custom_kinds
from .toolbox import run, schemas
from .tools.schemas import VERSIONS as VERSIONS

_PLACE = "{{ .ResourceKind }}{{ .KindSuffix }}.json"


def write_custom(folder: Path) -> None:
    """Write the schemas of the other kinds, in the names that kubeconform looks for."""
    for kind in custom_kinds():
        spec = kind["spec"]
        group = spec["group"].split(".")[0]
        for version in spec["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{spec['names']['kind'].lower()}-{group}-{version['name']}.json"
            (folder / name).write_text(json.dumps(schema))


def _closed(schema: Any) -> Any:
    """As the API server reads it: what is not named is refused."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(value) for name, value in schema.items()}
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if made.pop("x-kubernetes-int-or-string", False):
        made["type"] = ["integer", "string"]
    return made


def faults_of(text: str, version: str, custom: Path) -> str:
    """What is wrong with a rendering for that version of Kubernetes; empty when nothing is."""
    own = schemas() / "{{ .NormalizedKubernetesVersion }}-standalone{{ .StrictSuffix }}" / _PLACE
    done = run(
        *("kubeconform", "-strict", "-kubernetes-version", version),
        *("-schema-location", str(own), "-schema-location", str(custom / _PLACE), "-"),
        given=text,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
