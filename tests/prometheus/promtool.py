"""Prometheus' own tool, from the folder that promtool.sh filled."""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from tests.missing import missing

_SCRIPT = Path(__file__).with_name("promtool.sh")


@cache
def _found() -> Path:
    """Where it is, whether it is there or not."""
    named = os.environ.get("FOREBAY_TEST_TOOLS_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    script = hashlib.sha256(_SCRIPT.read_bytes()).hexdigest()[:16]
    return Path(named or caches / "forebay") / "promtool" / script / "bin" / "promtool"


def promtool(*arguments: str | Path, given: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run it to its end; where it is missing the test is skipped, or fails where nothing may be skipped."""
    if not _found().exists():
        missing(f"promtool is not there; `make helm-tools`, or {_SCRIPT.name} alone, brings it")
    done = subprocess.run(
        [_found(), *map(str, arguments)], input=given, capture_output=True, text=True, timeout=120, check=False
    )
    if check:
        assert done.returncode == 0, f"promtool {arguments}\n{done.stdout}\n{done.stderr}"
    return done
