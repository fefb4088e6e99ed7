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


def jars() -> Path:
    """The folder of the jars. Raises `NotHere` when they can't be had."""
    goal = ["-f", str(_POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    return fetched("Kafka", kafka_version(), goal)
