"""`forebay doctor`: what is set up here, what is wrong with it, and what to do about it."""

from collections import Counter
from typing import Annotated

import typer

from .checks.needs import Side
from .errors import FAILED
from .invocation import invocation
from .options import AsJson


def doctor(
    context: typer.Context,
    side: Annotated[Side, typer.Option(help="whose rights on the queue to check")] = "all",
    as_json: AsJson = False,
) -> None:
    """Check settings, keys, queue, disk and clock. Exit status 1 when something must be mended."""
    from .checks.examination import examined
    from .running import run
    from .terminal.output import clean, line, show_json

    findings = run(examined(invocation(context).load(), side))
    if as_json:
        show_json([finding.row() for finding in findings])
    else:
        for finding in findings:
            line(clean(finding.text()))
        found = Counter(finding.state for finding in findings)
        line(f"{found['fail']} failed, {found['warn']} to look at, {found['ok']} ok")
    if any(finding.state == "fail" for finding in findings):
        raise typer.Exit(FAILED)
