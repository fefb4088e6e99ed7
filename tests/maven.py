"""What Maven fetches once, and the user's cache keeps."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.missing import NotHere

#: Maven fetches 142 MB at the most.
_FETCH_S = 600


def fetched(name: str, version: str, goal: Sequence[str], unpack: Callable[[Path], None] = lambda folder: None) -> Path:
    """The folder that Maven's goal has filled, and `unpack` then. Raises `NotHere` when it can't be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay" / name.lower()
    folder = cache / version
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Beside the folder and then renamed: what was cut off must never be taken for the whole.
        beside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
        try:
            _fetch(name, goal, beside)
            unpack(beside)
            if not folder.is_dir():
                beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder


def _fetch(name: str, goal: Sequence[str], folder: Path) -> None:
    command = ["mvn", "-q", "-B", *goal, f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"mvn can't fetch {name} ({error}); install Maven and Java 17 or newer") from error
    if done.returncode:
        raise NotHere(f"mvn could not fetch {name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
