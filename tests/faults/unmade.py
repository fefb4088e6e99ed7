"""Faults that can't be made on this machine: the report says why."""

from typing import NoReturn

from tests.missing import missing

from .reporting import Report, Row


def unmade(report: Report, fault: str, reason: str) -> NoReturn:
    """Write the row with the reason, and skip the test, or fail it where nothing may be skipped."""
    report.add(Row(fault=fault, is_made=False, note=reason))
    missing(reason)
