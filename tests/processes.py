"""Processes that tests start."""

import shutil
from pathlib import Path


def dying_with_us() -> list[str]:
    """A test run that is killed can't stop its servers: the kernel does it then, where util-linux is there."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def written(path: Path) -> str:
    """What they wrote into that file so far, in whole lines: where a page ends, half of one is seen before."""
    text = path.read_bytes()
    return text[: text.rfind(b"\n") + 1].decode("utf-8", errors="replace")
