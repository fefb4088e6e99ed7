"""Kafka's jars: fetched by Maven once, then kept in the user's cache."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

_POM = Path(__file__).with_name("pom.xml")

#: Maven fetches 54 MB.
_FETCH_S = 600


class NoKafka(Exception):
    """Kafka can't be started here; the text says what is missing."""


def kafka_version() -> str:
    """The version that the pom asks for."""
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", _POM.read_text("utf-8"))
    assert found, f"{_POM} names no kafka.version"
    return found[1]


def jars() -> Path:
    """The folder of the jars. Raises `NoKafka` when they can't be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "forebay" / "kafka"
    folder = cache / kafka_version()
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    # Beside the folder and then renamed: what was cut off must never be taken for the whole.
    beside = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        _copy_dependencies(beside)
        if not folder.is_dir():
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _copy_dependencies(folder: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, timeout=_FETCH_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoKafka(f"mvn can't fetch Kafka's jars ({error}); install Maven and Java 17 or newer") from error
    if done.returncode:
        raise NoKafka(f"mvn could not fetch Kafka's jars: {done.stdout[-2000:]}{done.stderr[-2000:]}")
