"""`forebay` over a database, for the tests of each system."""

import json
from typing import Any

from typer.testing import CliRunner

from forebay.console.cli import build

from .server import PASSWORD


class Command:
    """`forebay` in this process, over one database."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *arguments: str, status: int = 0) -> str:
        done = CliRunner().invoke(build(), ["--queue-url", self.url, *arguments])
        assert done.exit_code == status, done.output
        assert PASSWORD not in done.output
        return done.stdout

    def findings(self, status: int = 0) -> dict[str, dict[str, Any]]:
        rows = map(json.loads, self.run("doctor", "--json", status=status).splitlines())
        return {row["check"]: row for row in rows if "check" in row}
