from pathlib import Path
from typing import Any

import pytest

from forebay.console.checks.callers import caller_findings
from forebay.console.settings import Settings


@pytest.mark.parametrize(
    ("callers", "found"),
    [
        ({}, []),
        ({"trusted_proxies": "127.0.0.1"}, []),
        ({"allow": "203.0.113.0/24"}, [("callers", "warn")]),
        ({"allow_file": "missing", "trusted_proxies": "127.0.0.1"}, [("callers allow_file", "fail")]),
        ({"allow_file": "list", "trusted_proxies": "127.0.0.1"}, [("callers allow_file", "ok")]),
        # Nothing listens there.
        ({"allow_url": "http://127.0.0.1:1/", "trusted_proxies": "127.0.0.1"}, [("callers allow_url", "warn")]),
    ],
)
async def test_doctor_says_what_is_wrong_with_who_may_call(
    tmp_path: Path, callers: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    (tmp_path / "list").write_text("203.0.113.0/24\n")
    if "allow_file" in callers:
        callers = {**callers, "allow_file": tmp_path / callers["allow_file"]}

    findings = [finding async for finding in caller_findings(Settings.model_validate({"callers": callers}))]

    assert [(finding.check, finding.state) for finding in findings] == found
