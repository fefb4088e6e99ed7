"""Kafka's jars."""

import re
from pathlib import Path

from tests.maven import fetched

_POM = Path(__file__).with_name("pom.xml")


def kafka_version() -> str:
    """The version that the pom asks for."""
    found = re.search(r"<kafka.version>(.+?)</kafka.version>", _POM.read_text("utf-8"))
    assert found, f"{_POM} names no kafka.version"
    return found[1]


def jars(version: str | None = None) -> Path:
    """The folder of the jars, of that version or of the pom's. Raises `NotHere` when they can't be had."""
    version = version or kafka_version()
    goal = ["-f", str(_POM), f"-Dkafka.version={version}", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    return fetched("Kafka", version, goal)
