"""The tools that tests of the chart run, from the folder that tools/build.sh filled."""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from tests.missing import missing

_TOOLS = Path(__file__).with_name("tools")

#: What the folder's name comes from, as in build.sh.
_PINS = ("build.sh", "go.mod", "go.sum", "score/go.mod", "score/go.sum", "wheels.txt", "schemas.py")


@cache
def folder() -> Path:
    """Where the tools of these pins are, whether they are there or not."""
    named = os.environ.get("FOREBAY_TEST_TOOLS_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = b"".join((_TOOLS / name).read_bytes() for name in _PINS)
    return Path(named or caches / "forebay") / "helm-tools" / hashlib.sha256(pins).hexdigest()[:16]


def tool(name: str) -> str:
    """The path of a tool; what is missing skips the test, or fails it where nothing may be skipped."""
    found = folder() / "bin" / name
    if not found.exists():
        missing(f"{name} is not there; `make helm-tools` builds what the tests of the chart need")
    return str(found)


def schemas() -> Path:
    """The folder of Kubernetes' schemas, a version each."""
    found = folder() / "schemas"
    if not found.exists():
        missing("Kubernetes' schemas are not there; `make helm-tools` brings what the tests of the chart need")
    return found


def run(name: str, *arguments: str | Path, given: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a tool to its end."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)], input=given, capture_output=True, text=True, timeout=300, check=False
    )
    if check:
        assert done.returncode == 0, f"{name} {arguments}\n{done.stdout}\n{done.stderr}"
    return done
