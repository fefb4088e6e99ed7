"""Kubernetes' schemas as kubeconform reads them, out of the wheel of kubernetes-validate: `schemas.py WHEEL FOLDER`."""

import json
import sys
import zipfile
from pathlib import Path, PurePosixPath

#: The oldest that the chart's kubeVersion takes, one in between, and the newest.
VERSIONS = ("1.29.0", "1.34.0", "1.37.0")


def unpack(wheel: Path, folder: Path) -> None:
    """Write each version's schemas below the folder, in the names that kubeconform looks for."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            version = path.parent.name.removeprefix("v").removesuffix("-local-strict")
            if path.suffix == ".json" and path.parent.name.endswith("-local-strict") and version in VERSIONS:
                _write(archive.read(name), folder / f"v{version}-standalone-strict" / path.name)


def _write(content: bytes, path: Path) -> None:
    # There the definitions are those of a server; here they are a file beside.
    schema = json.loads(content.replace(b"/api/_definitions.json#", b"_definitions.json#"))
    schema.pop("$id", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(schema), "utf-8")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
