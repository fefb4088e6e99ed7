"""The threat model in docs/security.md: every line of it names a test, and the tests are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows() -> list[str]:
    """The lines of the tables of the threat model, without their heads."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    model = text.partition("## What is protected")[2].partition("\n## ")[0]
    lines = [line for line in model.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.startswith(("| from whom", "| what fails"))]


def names_in(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text("utf-8")).body if hasattr(node, "name")}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.strip("| ").partition(" |")[0][:40])
def test_every_line_of_the_threat_model_names_a_test_that_is_there(row: str) -> None:
    (named,) = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", row)

    file, name = named
    assert name in names_in(ROOT / file)


def test_the_threat_model_has_lines() -> None:
    assert len(rows()) > 20
